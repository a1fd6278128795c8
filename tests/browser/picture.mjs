// Takes the pictures of the documentation on a running demo: docs/board.png, the orders board with a cut, animated, and, light and dark
// in docs/screenshots, a still one of each board, and of the console at three widths. Names after the browser: only those.
//
//     tailrace demo &
//     node tests/browser/picture.mjs http://127.0.0.1:8080/ /usr/bin/chromium chromium
//     node tests/browser/picture.mjs http://127.0.0.1:8080/ /usr/bin/chromium chromium console metrics

import { mkdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decode, encode } from "./apng.mjs";
import { launch } from "./page.mjs";

const [, , address, , , ...named] = process.argv;
const isWanted = (name) => !named.length || named.includes(name);
const docs = new URL("../../docs/", import.meta.url);
const MOVING = { width: 1120, height: 640 };
const STILL = { width: 1400, height: 860 };
/** Of the console, by what their names have. */
const WINDOWS = { "": STILL, "-768": { width: 768, height: 1024 }, "-390": { width: 390, height: 844 } };
const FRAME_MS = 125;
const LENGTH_MS = 9_000;
const CUT_AT_MS = 2_500;
const CONSOLE_CUT_MS = 45_000;
const CONSOLE_AFTER_MS = 12_000;
/** Until a board is full, and calm enough for a picture. */
const SETTLED_MS = 2_000;
const MAX_BYTES = { moving: 600_000, still: 120_000 };

const browser = await launch();
await mkdir(new URL("screenshots/", docs), { recursive: true });
for (const colorScheme of ["light", "dark"]) {
  for (const board of ["orders", "metrics", "logs", "notifications"].filter(isWanted)) {
    const page = await open(board, { viewport: STILL, colorScheme });
    await cut(page);
    await page.waitForFunction(() => document.body.dataset.state === "live" && document.querySelector("#notice.good"));
    await sleep(SETTLED_MS);
    await store(`screenshots/${board}-${colorScheme}.png`, [await shoot(page)], MAX_BYTES.still);
    await page.context().close();
  }
  if (!isWanted("console")) continue;
  // At the same time, for it takes a minute.
  await Promise.all(Object.entries(WINDOWS).map(async ([part, viewport]) => {
    await store(`screenshots/console${part}-${colorScheme}.png`, [await shootConsole({ viewport, colorScheme })], MAX_BYTES.still);
  }));
}
if (isWanted("board")) {
  const page = await open("orders", { viewport: MOVING, colorScheme: "light" });
  // The picture is small: without the lines about where it comes from.
  await page.evaluate(() => {
    document.querySelector(".origin").hidden = true;
    document.querySelector(".title").style.marginBottom = "1rem";
  });
  await store("board.png", await record(page), MAX_BYTES.moving);
}
await browser.close();

async function open(board, options) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(`${address}demo/${board}?tenant=acme`);
  await page.waitForSelector("body[data-state=live]");
  await sleep(SETTLED_MS);
  return page;
}

/** With the newest minutes, and a cut that is far enough from the start for both to have their words on the chart. */
async function shootConsole(options) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(`${address}?tenant=acme&from=-5m&autostart=1`);
  await page.waitForSelector("#state[data-state=live]");
  await sleep(CONSOLE_CUT_MS);
  await page.locator(".cut-button:visible").click();
  await page.waitForFunction(() => document.getElementById("verdict").textContent.startsWith("1 cut,") && document.getElementById("state").dataset.state === "live");
  await sleep(CONSOLE_AFTER_MS);
  const picture = await shoot(page);
  await page.context().close();
  return picture;
}

function cut(page) {
  return page.evaluate(() => document.getElementById("cut").click());
}

async function shoot(page) {
  return { ...decode(await page.screenshot()), delay: FRAME_MS };
}

/** Frames with the times for which they were really there. */
async function record(page) {
  const shots = [];
  const begin = performance.now();
  let isCut = false;
  for (let now = 0; now < LENGTH_MS; now = performance.now() - begin) {
    if (!isCut && now >= CUT_AT_MS) {
      await cut(page);
      isCut = true;
    }
    shots.push({ png: await page.screenshot(), at: performance.now() });
    await sleep(Math.max(0, begin + shots.length * FRAME_MS - performance.now()));
  }
  return shots.map(({ png, at }, i) => ({ ...decode(png), delay: Math.round((shots[i + 1]?.at ?? at + 1500) - at) }));
}

async function store(name, frames, most) {
  const file = encode(frames);
  await writeFile(new URL(name, docs), file);
  console.log(`${name}: ${frames.length} ${frames.length === 1 ? "frame" : "frames"}, ${file.length} bytes`);
  if (file.length > most) throw new Error(`${name} is larger than ${most} bytes`);
}
