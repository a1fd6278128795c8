// Tabs with one connection; the one that was opened first is closed in between.

import { startSite } from "./site.mjs";

/** Lines of the first tab, after which it is closed: after a cut. */
const CLOSE_AFTER = 60;

/** `worker`: whether there is a SharedWorker; else one of the tabs reads for all. */
export async function openTabs(browser, stream, names, { worker }) {
  const site = await startSite({
    tab: `
      import { Tailrace } from "/dist/index.js";
      window.heard = [];
      const stream = new Tailrace("${stream}", {
        share: true,
        onstate: (state) => (state === "open" && heard.push("open"), state === "refused" && heard.push("closed")),
      });
      stream.on("message", (event) => heard.push("data " + event.data));
      stream.on("tailrace.gap", (event) => heard.push("gap " + event.data));
      stream.on("tailrace.error", (event) => heard.push("error " + event.data));`,
  });
  const context = await browser.newContext();
  if (!worker) await context.addInitScript(() => delete globalThis.SharedWorker);
  const tabs = new Map();
  for (const name of names) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(name, error));
    page.on("console", (message) => console.error(name, message.text()));
    await page.goto(`${site}/tab`);
    tabs.set(name, page);
  }
  const [first] = names;
  let lines = 0; // of the first

  async function print() {
    for (const [name, page] of tabs) {
      const heard = await page.evaluate(() => heard.splice(0));
      for (const line of heard) console.log(`${name} ${line}`);
      if (name === first) lines += heard.length;
    }
    if (lines < CLOSE_AFTER || !tabs.has(first)) return;
    await tabs.get(first).close();
    tabs.delete(first);
    console.log(`${first} closed`);
  }
  return { print };
}
