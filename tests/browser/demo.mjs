// Does with the demo's console what docs/getting-started.md says, and prints a line of JSON with what was seen.

import { flaws } from "./layout.mjs";
import { openConsole } from "./page.mjs";

const CUTS = 3;
const WIDTHS = [1400, 1200, 390];

const { browser, page, complaints } = await openConsole();
const text = (selector) => page.locator(selector).textContent();
const live = () => page.locator("#state[data-state=live]").waitFor();

await page.locator("#offered button").first().waitFor();
const tenants = await page.locator("#offered button").allTextContents();
const offered = await page.locator("#topic-names option").evaluateAll((options) => options.map(({ value }) => value));
await page.getByRole("button", { name: "acme", exact: true }).click();
await page.getByRole("button", { name: "Start", exact: true }).click();
await live();
// With the first id: not only when a record of each has come.
await page.locator("#id .title span").first().waitFor();
const topics = await page.locator("#id .title span").allTextContents();
for (let cut = 1; cut <= CUTS; cut++) {
  await page.getByRole("button", { name: "Cut", exact: true }).click();
  await live();
  await page.waitForFunction((enough) => Number(document.getElementById("lost").dataset.verified) >= enough, cut * 5);
}
const [lost, repeated, cuts] = await Promise.all(["#lost", "#repeated", "#cuts"].map(text));
for (const width of WIDTHS) {
  await page.setViewportSize({ width, height: 860 });
  complaints.push(...(await flaws(page)).map((flaw) => `${width} px: ${flaw}`));
}
await browser.close();
console.log(JSON.stringify({ tenants, offered, topics, lost, repeated, cuts, complaints }));
