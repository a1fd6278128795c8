// The pages of the tutorials: for each line of JSON on its input, it opens a page, or looks again at one that is open, and prints a line
// with all that was wrong. {"url", "selector", "count", "orMore"}: the page comes to so many elements, each another. {"url", "selector"}: the
// number in the element goes on over reloads, and counts each paid order once.

import { createInterface } from "node:readline";
import { launch } from "./page.mjs";

const server = process.argv[2];
const STEP_MS = 40_000;
/** What comes too much would come within this time. */
const CALM_MS = 500;

const browser = await launch();
const pages = new Map(); // address -> page
let complaints = [];

for await (const line of createInterface({ input: process.stdin })) {
  const { url, selector, count, orMore } = JSON.parse(line);
  complaints = [];
  const page = pages.get(url) ?? (await open(url));
  await (count === undefined ? reload(page, selector) : comesTo(page, selector, count, orMore)).catch((error) => complaints.push(`${error}`));
  console.log(JSON.stringify({ complaints }));
}
await browser.close();

async function open(url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MS);
  pages.set(url, page);
  page.on("pageerror", (error) => complaints.push(`page error: ${error.stack ?? error}`));
  await page.goto(url);
  return page;
}

async function comesTo(page, selector, count, orMore) {
  const isMany = ({ selector, count }) => document.querySelectorAll(selector).length >= count;
  await page.waitForFunction(isMany, { selector, count });
  await page.waitForTimeout(CALM_MS);
  const texts = await page.locator(selector).allTextContents();
  if (new Set(texts).size < texts.length) complaints.push(`repeated: ${texts.join(" | ")}`);
  if (texts.some((text) => !text.trim())) complaints.push(`empty: ${texts.join(" | ")}`);
  if (!orMore && texts.length !== count) complaints.push(`${texts.length} instead of ${count}: ${texts.join(" | ")}`);
}

async function reload(page, selector) {
  const shows = (least) => page.waitForFunction(([selector, least]) => Number(document.querySelector(selector).textContent) >= least, [selector, least]);
  await shows(1);
  const first = await stored(page);
  for (let reloads = 1; reloads <= 2; reloads++) {
    await page.reload();
    await shows(first.count + reloads);
  }
  const last = await stored(page);
  const truth = await paidBetween(first.id, last.id);
  if (last.count - first.count !== truth) complaints.push(`${first.count} to ${last.count}, and ${truth} orders were paid`);
}

function stored(page) {
  return page.evaluate(() => JSON.parse(localStorage.getItem("paid")));
}

/** By the server's own pages: those after the one id, less those after the other, while nothing new comes. */
async function paidBetween(first, last) {
  for (;;) {
    const before = await paidAfter(first);
    const rest = await paidAfter(last);
    if ((await paidAfter(first)) === before) return before - rest;
  }
}

async function paidAfter(id) {
  const answer = await fetch(`${server}t/acme/records?topic=orders&type=order.paid&limit=1000&last_event_id=${id}`);
  return (await answer.json()).records.length;
}
