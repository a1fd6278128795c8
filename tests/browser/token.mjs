// The console of a server that asks for tokens: it has names of topics only with one, and shows the token nowhere.
// Prints a line of JSON with what was seen.

import { createHmac } from "node:crypto";
import { runCode } from "./code.mjs";
import { openConsole } from "./page.mjs";
import { Steps } from "./steps.mjs";

/** tests/console.rs gives the same to the server. */
const SECRET = "a secret that is long enough for HS256";

const REPLAYED = 3;

const base64 = (text) => Buffer.from(text).toString("base64url");
const claims = { tenant_id: "acme", scope: "event:read:acme", exp: Math.floor(Date.now() / 1000) + 600 };
const unsigned = `${base64(JSON.stringify({ alg: "HS256", typ: "JWT" }))}.${base64(JSON.stringify(claims))}`;
const token = `${unsigned}.${createHmac("sha256", SECRET).update(unsigned).digest("base64url")}`;

const { browser, page, complaints } = await openConsole();
const steps = new Steps(page, complaints);
const state = (name) => page.locator(`#state[data-state=${name}]`).waitFor();
await steps.fill({ tenant: "acme", types: ["order.created", "order.paid", "order.packed"], from: `-${REPLAYED}` });
const offered = await page.locator("#topic-names option, #topic-chips button, #tenant-chips button").count();
await steps.start();
await state("refused");
// It opens the field that is missing. The refusals, of the stream and of the topics, are errors in the browser's own eyes, too.
const asks = await page.isVisible("#token");
const again = await page.textContent("#start");
steps.forget(401);

await page.fill("#token", token);
await steps.start();
await state("live");
await steps.reaches(REPLAYED);
// The topics are those that the token's tenant has, and their names those in the ids.
await page.locator("#topic-chips .note:not(:empty)").first().waitFor();
const topics = await steps.texts("#topic-chips .name");
await page.waitForFunction(() => document.querySelectorAll("#positions .topic .name").length === 4);
const positions = await steps.texts("#positions .topic .name");
await page.click("#tab-code");
const codes = [];
for (const language of await page.locator("#languages button").all()) {
  await language.click();
  codes.push(await page.textContent("#code"));
}
await page.getByRole("tab", { name: "EventSource" }).click();
const code = await page.textContent("#code");
const heard = await runCode(browser, process.argv[2], code, REPLAYED, token);
const everywhere = [...codes, page.url(), await page.evaluate(() => JSON.stringify(localStorage))];
await browser.close();
const heardOf = [...new Set(heard.map(({ record }) => record.topic))];
const hidden = codes.length === 5 && everywhere.every((text) => !text.includes(token));
console.log(JSON.stringify({ asks, again, offered, topics, positions, heard: heardOf, hidden, complaints }));
