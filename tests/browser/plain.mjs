// An EventSource as anybody would write it, without the client module. Prints each thing that it hears as a line:
// "open", "data <data>", "gap <data>", "error <data>", "closed" when it gave up. Ends when its standard input does.

import { setTimeout as sleep } from "node:timers/promises";
import { openConsole } from "./page.mjs";

/** How often the page is asked what it heard, in milliseconds. */
const POLL_MS = 50;

const { browser, page } = await openConsole();
await page.evaluate(() => {
  window.heard = [];
  const source = new EventSource("/t/acme/events");
  source.onopen = () => heard.push("open");
  source.onmessage = (event) => heard.push(`data ${event.data}`);
  source.addEventListener("tailrace.gap", (event) => heard.push(`gap ${event.data}`));
  source.addEventListener("tailrace.error", (event) => heard.push(`error ${event.data}`));
  source.onerror = () => source.readyState === EventSource.CLOSED && heard.push("closed");
});

let ended = false;
process.stdin.resume().on("end", () => (ended = true));
while (!ended) {
  // Taken in one piece, so that nothing can come out of order on the way.
  for (const line of await page.evaluate(() => heard.splice(0))) console.log(line);
  await sleep(POLL_MS);
}
await browser.close();
