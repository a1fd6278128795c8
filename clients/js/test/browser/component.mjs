// A component that shows what it gets, twice mounted, as React's strict mode does.

import { build } from "esbuild";
import { startSite } from "./site.mjs";

export async function openComponent(browser, stream, name) {
  const contents = `
    import { StrictMode, createElement, useEffect } from "react";
    import { createRoot } from "react-dom/client";
    import { useTailrace } from "tailrace/react";

    window.shown = [];
    window.opened = 0;
    const onstate = (state) => (window.opened += state === "open");
    const add = (list, event) => [...list, event.type === "message" ? "data " + event.data : event.type === "tailrace.gap" ? "gap" : undefined].filter(Boolean);
    function Orders() {
      const { value, state } = useTailrace("${stream}", { onstate }, add, []);
      useEffect(() => void (window.shown = value), [value]);
      return createElement("p", null, state + ": " + value.length + ", " + value.at(-1));
    }
    createRoot(document.querySelector("main")).render(createElement(StrictMode, null, createElement(Orders)));`;
  const resolveDir = new URL(".", import.meta.url).pathname;
  const { outputFiles } = await build({ stdin: { contents, resolveDir }, bundle: true, format: "esm", write: false, logLevel: "error" });
  const site = await startSite({ page: outputFiles[0].text.replaceAll("</script", "<\\/script") });
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.log(`${name} failed: ${error}`));
  await page.goto(`${site}/page`);
  let printed = 0;
  let opened = 0;

  async function print() {
    const now = await page.evaluate((printed) => ({ fresh: shown.slice(printed), opened: window.opened }), printed);
    for (; opened < now.opened; opened++) console.log(`${name} open`);
    for (const line of now.fresh) console.log(`${name} ${line}`);
    printed += now.fresh.length;
  }

  async function check() {
    const text = await page.textContent("p");
    if (!text.startsWith(`open: ${printed}, `)) throw new Error(`it shows: ${text}`);
  }
  return { print, check };
}
