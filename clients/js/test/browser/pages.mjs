// Pages in one browser: tabs that share a connection in a SharedWorker (a, b, c), and where there is none (d, e, f); a page that is
// reloaded (reloaded); a component (component). Prints what each hears, as tests/browser/hearing.mjs does, until the input ends.

import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../../../../tests/browser/page.mjs";
import { openComponent } from "./component.mjs";
import { openReloaded } from "./reloaded.mjs";
import { openTabs } from "./tabs.mjs";

const [, , bridge] = process.argv;
const stream = `${bridge}t/acme/events?topic=orders`;
/** How often the pages are asked what they heard. */
const POLL_MS = 50;

const browser = await launch();
const all = [
  await openTabs(browser, stream, ["a", "b", "c"], { worker: true }),
  await openTabs(browser, stream, ["d", "e", "f"], { worker: false }),
  await openReloaded(browser, stream, "reloaded"),
  await openComponent(browser, stream, "component"),
];
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const { print } of all) await print();
  await sleep(POLL_MS);
}
for (const { check } of all) await check?.();
await browser.close();
