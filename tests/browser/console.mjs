// Starts the console on a tenant's stream, cuts it five times, and prints what it shows in the end.
// Prints "live" and waits for events, prints "cut" once the cuts are done and waits for silence, prints a line of JSON.

import { setTimeout as sleep } from "node:timers/promises";
import { openConsole } from "./page.mjs";

const CUTS = 5;
/** Events that must come after each cut, once the stream is live again. */
const AFTER_EACH = 40;
/** The stream is silent once no event came for this long, in milliseconds; the page draws its counters every 250. */
const SILENCE_MS = 1500;

const { browser, page, complaints } = await openConsole();
const shown = async (id) => Number(await page.locator(`#${id}`).getAttribute("data-value"));
const live = () => page.locator("#state[data-state=live]").waitFor();
const eventsReach = (count) =>
  page.waitForFunction((count) => Number(document.getElementById("events").dataset.value) >= count, count);

await page.fill("#tenant", "acme");
await page.click("#start");
await live();
console.log("live");
await eventsReach(AFTER_EACH);

for (let cut = 0; cut < CUTS; cut++) {
  await page.click("#cut");
  await live();
  await eventsReach((await shown("events")) + AFTER_EACH);
}
console.log("cut");

for (let before = -1, now; (now = await shown("events")) !== before; before = now) await sleep(SILENCE_MS);
await page.click("#stop");

const verified = Number(await page.locator("#lost").getAttribute("data-verified"));
const [events, lost, repeated, cuts] = await Promise.all(["events", "lost", "repeated", "cuts"].map(shown));
await browser.close();
console.log(JSON.stringify({ events, lost, repeated, cuts, verified, complaints }));
