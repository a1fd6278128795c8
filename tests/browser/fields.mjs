// Starts the console with every field filled, pauses it for a while, and has a filter refused that means nothing.
// Prints "live" and waits for events, prints "on" once it goes on after the pause and waits for silence, prints a line of JSON.

import { setTimeout as sleep } from "node:timers/promises";
import { openConsole } from "./page.mjs";
import { Steps } from "./steps.mjs";

/** Events that must come before, and during, the pause. */
const AT_LEAST = 20;
/** The stream is silent once no event came for this long, in milliseconds; the page draws its counters every 250. */
const SILENCE_MS = 1500;

const { browser, page, complaints } = await openConsole();
const steps = new Steps(page, complaints);
const shown = (id) => steps.count(id);
const rows = () => page.locator("#list > .event").count();
const eventsReach = (count) => steps.reaches(count);

await steps.fill({ tenant: "acme", topics: ["orders"], types: ["acme"], where: ["header.tenant=acme"] });
await steps.start();
await page.locator("#state[data-state=live]").waitFor();
console.log("live");
await eventsReach(AT_LEAST);

await page.click("#pause");
const held = await rows();
await eventsReach((await shown("events")) + AT_LEAST);
const heldStill = (await rows()) === held;
await page.click("#pause");
console.log("on");

for (let before = -1, now; (now = await shown("events")) !== before; before = now) await sleep(SILENCE_MS);
const [events, lost, repeated] = await Promise.all(["events", "lost", "repeated"].map(shown));
const drawn = await rows();

// A refusal is an error in the browser's own eyes, too.
const before = [...complaints];
await steps.fill({ tenant: "acme", where: ["value.total==1"] });
await steps.start();
await page.locator("#state[data-state=refused]").waitFor();
const refusal = await page.locator("#empty strong").textContent();
await browser.close();
console.log(JSON.stringify({ events, lost, repeated, drawn, heldStill, refusal, complaints: before }));
