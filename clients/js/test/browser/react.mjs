// A component that shows what it gets, twice mounted, as React's strict mode does. Prints what it renders, as tests/browser/hearing.mjs does.

import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { launch } from "../../../../tests/browser/page.mjs";
import { startSite } from "./site.mjs";

const [, , bridge] = process.argv;

const contents = `
  import { StrictMode, createElement, useEffect } from "react";
  import { createRoot } from "react-dom/client";
  import { useTailrace } from "tailrace/react";

  window.shown = [];
  window.opened = 0;
  const onstate = (state) => (window.opened += state === "open");
  const add = (list, event) => [...list, event.type === "message" ? "data " + event.data : event.type === "tailrace.gap" ? "gap" : undefined].filter(Boolean);
  function Orders() {
    const { value, state } = useTailrace("${bridge}t/acme/events?topic=orders", { onstate }, add, []);
    useEffect(() => void (window.shown = value), [value]);
    return createElement("p", null, state + ": " + value.length + ", " + value.at(-1));
  }
  createRoot(document.querySelector("main")).render(createElement(StrictMode, null, createElement(Orders)));`;
const resolveDir = new URL(".", import.meta.url).pathname;
const { outputFiles } = await build({ stdin: { contents, resolveDir }, bundle: true, format: "esm", write: false, logLevel: "error" });

const site = await startSite({ page: outputFiles[0].text.replaceAll("</script", "<\\/script") });
const browser = await launch();
const page = await browser.newPage();
page.on("pageerror", (error) => console.log(`page failed: ${error}`));
await page.goto(`${site}/page`);
let printed = 0;
let opened = 0;
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  const now = await page.evaluate((printed) => ({ fresh: shown.slice(printed), opened: window.opened }), printed);
  for (; opened < now.opened; opened++) console.log("page open");
  for (const line of now.fresh) console.log(`page ${line}`);
  printed += now.fresh.length;
  await sleep(50);
}
const text = await page.textContent("p");
if (!text.startsWith(`open: ${printed}, `)) throw new Error(`it shows: ${text}`);
await browser.close();
