// A page that goes on after a reload where it was. It is reloaded as soon as it has heard something.

import { startSite } from "./site.mjs";

const RELOADS = 5;

export async function openReloaded(browser, stream, name) {
  // What it heard survives the page: localStorage is written before a handler returns. A line an entry, so that it stays quick.
  const site = await startSite({
    page: `
      import { Tailrace } from "/dist/index.js";
      const say = (line) => localStorage.setItem(localStorage.length, line);
      const stream = new Tailrace("${stream}", {
        resume: "orders",
        onstate: (state) => state === "open" && say("open"),
      });
      stream.on("message", (event) => say("data " + event.data));
      stream.on("tailrace.gap", (event) => say("gap " + event.data));`,
  });
  const page = await (await browser.newContext()).newPage();
  page.on("console", (message) => console.error(name, message.text()));
  await page.goto(`${site}/page`);
  let reloads = 0;

  async function print() {
    const heard = await page.evaluate(() => {
      const heard = Array.from({ length: localStorage.length }, (_, i) => localStorage.getItem(i));
      localStorage.clear();
      return heard;
    });
    for (const line of heard) console.log(`${name} ${line}`);
    if (reloads === RELOADS || !heard.some((line) => line.startsWith("data "))) return;
    reloads++;
    await page.reload();
  }
  return { print };
}
