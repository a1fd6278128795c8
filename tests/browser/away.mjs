// Two boards while the demo goes away and comes back as another one, and a board that is hidden, left and offline. It prints "live",
// then "waiting" once it has noticed that the demo is gone, and in the end a line of JSON with all that was wrong.

import { launch } from "./page.mjs";

const address = process.argv[2];
/** What a step may take, in milliseconds: a page tries again within half a minute. */
const STEP_MS = 40_000;
const HIDDEN_MS = 2_000;

const browser = await launch();
const complaints = [];
const expect = (what, holds) => holds || complaints.push(`not so: ${what}`);

async function open(board) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`page error: ${error.stack ?? error}`));
  await page.goto(`${address}demo/${board}`);
  return page;
}

const comes = (page, what, condition, argument) =>
  page.waitForFunction(condition, argument, { timeout: STEP_MS, polling: 50 }).catch(() => complaints.push(`did not come: ${what}`));
const enters = (page, ...states) => comes(page, states.join(" or "), (states) => states.includes(document.body.dataset.state), states);
const notice = (page) => page.locator("#notice").textContent();
const compared = (page) => page.locator("#compared").textContent().then((text) => Number(text.replaceAll(",", "")));
const comparesOn = async (page, what) => comes(page, `a comparison ${what}`, (before) => Number(document.getElementById("compared").textContent.replaceAll(",", "")) > before, await compared(page));
const isExact = async (page, what) => expect(`nothing lost, nothing repeated ${what}`, (await page.locator("#lost").textContent()) === "0" && (await page.locator("#repeated").textContent()) === "0");

const pages = { orders: await open("orders"), notifications: await open("notifications") };
for (const page of Object.values(pages)) await enters(page, "live");

await hide(pages.orders);
await leaveAndComeBack(pages.orders);
await loseTheNetwork(pages.orders);
await comes(pages.notifications, "a notification", () => document.querySelector(".notice"));
const stored = () => pages.notifications.evaluate(() => JSON.parse(localStorage.getItem("tailrace.demo.acme.ada")));
const old = await stored();

console.log("live");
for (const page of Object.values(pages)) await enters(page, "waiting");
expect("that there is no connection is told", (await notice(pages.orders)).includes("No connection"));
console.log("waiting");

for (const [board, page] of Object.entries(pages)) {
  // Whoever does not want to wait.
  await page.evaluate(() => setInterval(() => document.body.dataset.state === "waiting" && document.getElementById("cut").click(), 1000));
  await comes(page, `that ${board} starts over`, () => document.body.dataset.state === "live" && document.getElementById("notice").textContent.includes("Started over"));
  await comparesOn(page, `of ${board} with the new demo`);
  await isExact(page, `of ${board} with the new demo`);
}
const now = await stored();
const shown = await pages.notifications.locator(".notice .text").allTextContents();
expect("what is shown is stored", shown.every((text) => now.items.some((item) => item.text === text)) && Math.abs(shown.length - now.items.length) < 3);
expect("the new inbox has nothing of the old one", now.items.length > 0 && now.id !== old.id && !now.items.some(({ time }) => time === old.items[0].time));
expect("the board has the new demo's orders only", await boardIsTheServers(pages.orders));
await browser.close();
console.log(JSON.stringify({ complaints }));

/** A hidden page leaves its second connection to others, goes on with the first, and compares on when it is seen again. */
async function hide(page) {
  const turn = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);
  await comparesOn(page, "before it is hidden");
  const ended = page.waitForEvent("requestfailed", { timeout: STEP_MS }).catch(() => null);
  await turn(true);
  expect("a hidden page ends its second connection", (await ended)?.resourceType() === "fetch");
  await settled();
  const [before, events] = [await compared(page), Number(await page.locator("#events").textContent())];
  await new Promise((done) => setTimeout(done, HIDDEN_MS));
  expect("a hidden page compares nothing", (await compared(page)) === before);
  expect("a hidden page hears on", Number(await page.locator("#events").textContent()) > events);
  await turn(false);
  await comparesOn(page, "after it was hidden");
  await isExact(page, "after it was hidden");
}

/** What has come is counted, and the counters are drawn, a little later. */
function settled() {
  return new Promise((done) => setTimeout(done, 1000));
}

/** As the browser keeps a page for its Back button, and shows it again. */
async function leaveAndComeBack(page) {
  const turn = (type) => page.evaluate((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
  const count = async () => Number(await page.locator("#events").textContent());
  await turn("pagehide");
  await settled();
  const events = await count();
  await new Promise((done) => setTimeout(done, HIDDEN_MS));
  expect("a page that was left holds no connection", (await count()) === events);
  await turn("pageshow");
  await enters(page, "live");
  await comparesOn(page, "after it was left");
  await isExact(page, "after it was left");
}

async function loseTheNetwork(page) {
  await page.context().setOffline(true);
  // Chromium keeps what is open; what is opened fails.
  await page.locator("#cut").click();
  await enters(page, "waiting");
  await comes(page, "that it is offline", () => document.getElementById("state").textContent.startsWith("Offline"));
  await page.context().setOffline(false);
  await enters(page, "live");
  await comparesOn(page, "after it was offline");
  await isExact(page, "after it was offline");
}

/** Of what is under way; both go on, so they are compared until they meet. */
async function boardIsTheServers(page) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const meets = await page.evaluate(async () => {
      const { records } = await (await fetch("/t/acme/records?topic=orders&from=earliest&limit=1000")).json();
      await new Promise(requestAnimationFrame);
      const shown = [...document.querySelectorAll(".order")].map((card) => [card.querySelector(".id").textContent, card.closest(".column").id]);
      const truth = new Map(records.map(({ value }) => [`#${value.id.split("-")[1]}`, value.state]));
      return shown.length > 0 && shown.every(([id, state]) => truth.get(id) === state);
    });
    if (meets) return true;
  }
  return false;
}
