// Three tabs with one connection; the one that was opened first is closed in between. Prints what each hears, as
// tests/browser/hearing.mjs does.

import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../../../../tests/browser/page.mjs";
import { startSite } from "./site.mjs";

const [, , bridge] = process.argv;
const isWithout = process.env.WITHOUT_SHARED_WORKER === "1";
const POLL_MS = 50;
const CLOSE_AFTER = 100;

const site = await startSite({
  tab: `
    import { Tailrace } from "/dist/index.js";
    window.heard = [];
    const stream = (window.stream = new Tailrace("${bridge}t/acme/events?topic=orders", {
      share: true,
      onstate: (state) => (state === "open" && heard.push("open"), state === "refused" && heard.push("closed")),
    }));
    stream.on("message", (event) => heard.push("data " + event.data));
    stream.on("tailrace.gap", (event) => heard.push("gap " + event.data));
    stream.on("tailrace.error", (event) => heard.push("error " + event.data));`,
});

const browser = await launch();
const context = await browser.newContext();
if (isWithout) await context.addInitScript(() => delete globalThis.SharedWorker);
const tabs = new Map();
for (const name of ["a", "b", "c"]) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(name, error));
  page.on("console", (message) => console.error(name, message.text()));
  await page.goto(`${site}/tab`);
  tabs.set(name, page);
  await sleep(300);
}

let first = 0; // events of the first tab
async function print(name) {
  const lines = await tabs.get(name).evaluate(() => heard.splice(0));
  for (const line of lines) console.log(`${name} ${line}`);
  if (name === "a") first += lines.length;
}

let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const name of tabs.keys()) await print(name);
  if (tabs.has("a") && first > CLOSE_AFTER) {
    const page = tabs.get("a");
    await page.close();
    tabs.delete("a");
    console.log("a closed");
  }
  await sleep(POLL_MS);
}
await browser.close();
