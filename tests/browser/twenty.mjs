// Twenty event streams in one page, over TLS: more than a browser opens connections. Prints for each "open", and "<stream> <data>".

import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "./page.mjs";

/** How often the page is asked what happened, in milliseconds. */
const POLL_MS = 50;

const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
await page.goto(process.argv[2].replace("http:", "https:"));
await page.evaluate(() => {
  window.said = [];
  for (let stream = 0; stream < 20; stream += 1) {
    const source = new EventSource("/t/acme/events?topic=orders");
    source.onopen = () => said.push("open");
    source.onmessage = (event) => said.push(`${stream} ${event.data}`);
  }
});
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const line of await page.evaluate(() => said.splice(0))) console.log(line);
  await sleep(POLL_MS);
}
const protocols = await page.evaluate(() => performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol));
console.log(`protocol ${protocols}`);
await browser.close();
