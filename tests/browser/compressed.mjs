// Three event streams in one page, over TLS: two of the page's server, which compresses what both get, and one of a server that does
// not, whose address comes as a line of input. Prints for each "open", and "<stream> <data> <milliseconds>".

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "./page.mjs";

/** How often the page is asked what happened, in milliseconds. */
const POLL_MS = 50;

const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
const input = createInterface({ input: process.stdin });
const { value: other } = await input[Symbol.asyncIterator]().next();
// The console's page may connect to its own server alone.
await page.goto(new URL("tailrace.js", process.argv[2].replace("http:", "https:")).href);
await page.evaluate((other) => {
  window.said = [];
  const open = (name, url) => {
    const source = new EventSource(url);
    source.onopen = () => said.push("open");
    source.onerror = () => said.push(`${name} failed`);
    source.onmessage = (event) => said.push(`${name} ${event.data} ${performance.now()}`);
  };
  const path = "/t/acme/events?topic=orders&from=latest";
  open("first", path);
  open("second", path);
  open("plain", new URL(path, other));
}, other);
let ended = false;
input.on("close", () => (ended = true));
while (!ended) {
  for (const line of await page.evaluate(() => said.splice(0))) console.log(line);
  await sleep(POLL_MS);
}
await browser.close();
