// A page that shows a table as docs/protocol.md has it: the newest record of each key, then everything.
// Prints "open" for each connection and "synced" for each snapshot. For each line of input prints what it shows, as JSON.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "./page.mjs";

/** How often the page is asked what happened, in milliseconds. */
const POLL_MS = 50;
/** Rows that the page draws. */
const DRAWN = 100;

const browser = await launch();
const page = await browser.newPage();
await page.goto(process.argv[2]);
await page.evaluate((DRAWN) => {
  window.said = [];
  window.rows = new Map();
  document.body.innerHTML = "<p id=count></p><table id=table></table>";
  let isWhole = false;
  const draw = () => {
    document.getElementById("count").textContent = rows.size;
    const first = [...rows].slice(0, DRAWN).map(([key, value]) => `<tr><td>${key}<td>${value.n}`);
    document.getElementById("table").innerHTML = first.join("");
  };
  let isDrawing = false;
  const redraw = () => {
    if (!isWhole || isDrawing) return;
    isDrawing = true;
    setTimeout(() => ((isDrawing = false), draw()), 100);
  };

  const events = new EventSource("/t/acme/events?topic=prices&from=snapshot&envelope=record");
  events.onmessage = (event) => {
    const record = JSON.parse(event.data);
    if (record.value_kind === "tombstone") rows.delete(record.key);
    else rows.set(record.key, record.value);
    redraw();
  };
  events.addEventListener("tailrace.synced", () => {
    isWhole = true;
    draw();
    said.push("synced");
  });
  events.addEventListener("tailrace.gap", (event) => said.push(`gap ${event.data}`));
  events.onopen = () => said.push("open");
  events.onerror = () => events.readyState === EventSource.CLOSED && said.push("closed");
}, DRAWN);

const asked = [];
let ended = false;
createInterface({ input: process.stdin })
  .on("line", (line) => asked.push(line))
  .on("close", () => (ended = true));
while (!ended) {
  for (const line of await page.evaluate(() => said.splice(0))) console.log(line);
  for (const _ of asked.splice(0)) {
    const shown = await page.evaluate(() => ({
      count: Number(document.getElementById("count").textContent),
      drawn: document.querySelectorAll("#table tr").length,
      rows: Object.fromEntries([...rows].map(([key, value]) => [key, value.n])),
    }));
    console.log(JSON.stringify(shown));
  }
  await sleep(POLL_MS);
}
await browser.close();
