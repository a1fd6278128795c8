// A site with its bridge behind a proxy: a plain EventSource of a page, and the client module in a SharedWorker.

import { hearPlain, openPage, printUntilTheEnd } from "./hearing.mjs";
import { launch } from "./page.mjs";
import { startSite } from "./site.mjs";

const browser = await launch();
const page = await openPage(browser, await startSite(process.argv[2]));
await hearPlain(page, "plain", "/t/acme/events");
await page.evaluate(() => {
  const worker = new SharedWorker("/worker.mjs", { type: "module" });
  worker.onerror = () => heard.push("worker failed: its script cannot be loaded");
  worker.port.onmessage = (event) => heard.push(`worker ${event.data}`);
});
await printUntilTheEnd(browser, [page]);
