// The console of a server that asks for tokens: it names no topic before it has met it, and the code asks for the token.
// Prints a line of JSON with what was seen.

import { createHmac } from "node:crypto";
import { runCode } from "./code.mjs";
import { openConsole } from "./page.mjs";

/** tests/console.rs gives the same to the server. */
const SECRET = "a secret that is long enough for HS256";

const REPLAYED = 3;

const base64 = (text) => Buffer.from(text).toString("base64url");
const claims = { tenant_id: "acme", scope: "event:read:acme", exp: Math.floor(Date.now() / 1000) + 600 };
const unsigned = `${base64(JSON.stringify({ alg: "HS256", typ: "JWT" }))}.${base64(JSON.stringify(claims))}`;
const token = `${unsigned}.${createHmac("sha256", SECRET).update(unsigned).digest("base64url")}`;

const { browser, page, complaints } = await openConsole();
const state = (name) => page.locator(`#state[data-state=${name}]`).waitFor();
await page.fill("#tenant", "acme");
await page.fill("#type", "order.created, order.paid, order.packed");
await page.fill("#from", `-${REPLAYED}`);
await page.click("#start");
await state("refused");
// It opens the field that is missing. The refusal is an error in the browser's own eyes, too.
const asks = await page.isVisible("#token");
const others = complaints.splice(0).filter((complaint) => !complaint.includes("status of 401"));
const offered = await page.locator("#topic-names option, #offered button").count();

await page.fill("#token", token);
await page.click("#start");
await state("live");
await page.waitForFunction((events) => Number(document.getElementById("events").textContent) >= events, REPLAYED);
// Those that were not met have the fingerprint that stands in the id.
const topics = (await page.locator("#id .title span").allTextContents()).map((name) => name.replace(/^topic [0-9a-f]{6}$/, "?"));
const code = await page.locator("#code").textContent();
const heard = await runCode(browser, process.argv[2], code, REPLAYED, token);
await browser.close();
const heardOf = [...new Set(heard.map(({ record }) => record.topic))];
console.log(JSON.stringify({ asks, offered, topics, heard: heardOf, hidden: !code.includes(token), complaints: [...others, ...complaints] }));
