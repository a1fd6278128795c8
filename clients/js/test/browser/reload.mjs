// A page that goes on after a reload where it was. It is reloaded again and again until the input ends. Prints what it hears, as
// tests/browser/hearing.mjs does.

import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../../../../tests/browser/page.mjs";
import { startSite } from "./site.mjs";

const [, , bridge] = process.argv;
const LIFE_MS = 700;
const RELOADS = 8;

// What it heard survives the page: localStorage is written before a handler returns.
const site = await startSite({
  page: `
    import { Tailrace } from "/dist/index.js";
    const say = (line) => localStorage.setItem("heard", (localStorage.getItem("heard") ?? "") + line + "\\n");
    const stream = new Tailrace("${bridge}t/acme/events?topic=orders", {
      resume: "orders",
      onstate: (state) => state === "open" && say("open"),
    });
    stream.on("message", (event) => say("data " + event.data));
    stream.on("tailrace.gap", (event) => say("gap " + event.data));`,
});

const browser = await launch();
const page = await browser.newPage();
page.on("console", (message) => console.error(message.text()));
await page.goto(`${site}/page`);

async function print() {
  const heard = await page.evaluate(() => {
    const heard = localStorage.getItem("heard") ?? "";
    localStorage.removeItem("heard");
    return heard;
  });
  for (const line of heard.split("\n").filter(Boolean)) console.log(`page ${line}`);
}

let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
for (let reloads = 0; !ended; reloads++) {
  await sleep(reloads < RELOADS ? LIFE_MS : 50);
  await print();
  if (reloads < RELOADS) await page.reload();
}
await browser.close();
