// What the sources in pages hear, said as lines: the source's name, and
// "open", "data <data>", "gap <data>", "error <data>", or "closed" when it gave up.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** How often the pages are asked what they heard, in milliseconds. */
const POLL_MS = 50;

/** A page at this address that keeps what it hears. */
export async function openPage(browser, address) {
  const page = await browser.newPage();
  await page.goto(address);
  await page.evaluate(() => (window.heard = []));
  return page;
}

/** An EventSource as anybody would write it. */
export function hearPlain(page, name, address) {
  return page.evaluate(([name, address]) => {
    const say = (what) => heard.push(`${name} ${what}`);
    const source = new EventSource(address);
    source.onopen = () => say("open");
    source.onmessage = (event) => say(`data ${event.data}`);
    source.addEventListener("tailrace.gap", (event) => say(`gap ${event.data}`));
    source.addEventListener("tailrace.error", (event) => say(`error ${event.data}`));
    source.onerror = () => source.readyState === EventSource.CLOSED && say("closed");
  }, [name, address]);
}

/**
 * Prints what the pages hear until the standard input ends, then closes the browser. Lines of input, "offline" and "online",
 * take the network away from the pages and give it back; each is printed once that is done.
 */
export async function printUntilTheEnd(browser, pages) {
  const asked = [];
  let ended = false;
  createInterface({ input: process.stdin })
    .on("line", (line) => asked.push(line))
    .on("close", () => (ended = true));
  while (!ended) {
    for (const line of asked.splice(0)) {
      for (const page of pages) await page.context().setOffline(line === "offline");
      console.log(line);
    }
    for (const page of pages) {
      // Taken in one piece, so that nothing can come out of order on the way.
      for (const line of await page.evaluate(() => heard.splice(0))) console.log(line);
    }
    await sleep(POLL_MS);
  }
  await browser.close();
}
