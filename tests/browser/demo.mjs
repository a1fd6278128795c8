// Does with the demo's console what docs/getting-started.md says, and prints a line of JSON with what was seen.

import { flaws } from "./layout.mjs";
import { runModule, runShell, runSocket } from "./code.mjs";
import { openConsole } from "./page.mjs";
import { Steps } from "./steps.mjs";

const CUTS = 3;
const WIDTHS = [1400, 768, 390];

const { browser, page, complaints } = await openConsole();
const opened = Date.now();
const steps = new Steps(page, complaints);
const live = () => page.locator("#state[data-state=live]").waitFor();

// Nothing is pressed: it starts by itself.
await live();
await page.locator("#list .event").first().waitFor();
const within = Date.now() - opened;
const tenants = await steps.texts("#tenant-chips button");
const offered = await steps.texts("#topic-chips .name");
const boards = await page.locator("#boards a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
await page.locator("#topic-chips .note:not(:empty)").first().waitFor();
await page.waitForFunction(() => document.querySelectorAll("#positions .topic .name").length === 4);
const topics = await steps.texts("#positions .topic .name");
for (let cut = 1; cut <= CUTS; cut++) {
  await page.getByRole("button", { name: "Cut", exact: true }).click();
  await live();
  await page.waitForFunction((enough) => Number(document.getElementById("lost").dataset.verified) >= enough, cut * 5);
}
await page.waitForFunction(() => /^3 cuts, [\d,]+ compared, all there once\.$/.test(document.getElementById("verdict").textContent));
const [lost, repeated, cuts] = await Promise.all(["lost", "repeated", "cuts"].map((id) => steps.count(id)));
for (const width of WIDTHS) {
  await page.setViewportSize({ width, height: 860 });
  complaints.push(...(await flaws(page)).map((flaw) => `${width} px: ${flaw}`));
}
await page.setViewportSize({ width: 1400, height: 860 });
// A topic that is switched on is asked for at once.
await page.click("#topic-chips button:has-text('orders')");
await page.waitForFunction(() => new URL(location).searchParams.get("topics") === "orders");
await live();
await steps.reaches(3);
await page.locator("#list .topic").first().waitFor();
const only = [...new Set(await steps.texts("#list .topic"))];
await page.click("#topic-chips button:has-text('orders')");
await page.waitForFunction(() => !new URL(location).searchParams.has("topics"));
// What the page gives as code runs.
await steps.fill({ tenant: "acme", topics: ["orders"], from: "-3" });
await steps.start();
await live();
await page.click("#tab-code");
const codes = {};
for (const language of ["curl", "tailrace.js", "wscat"]) {
  await page.getByRole("tab", { name: language, exact: true }).click();
  codes[language] = await page.textContent("#code");
}
const heard = { curl: await runShell(codes.curl), module: await runModule(browser, process.argv[2], codes["tailrace.js"], 3) };
const socket = new URL(/'(ws:.*)'/.exec(codes.wscat)[1]);
heard.socket = await runSocket(browser, process.argv[2], socket.href, 3);
await browser.close();
console.log(JSON.stringify({ soon: within < 10_000, tenants, offered, boards, topics, only, heard, lost, repeated, cuts, complaints }));
