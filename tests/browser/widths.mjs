// Uses every field and every button of the console at three widths. At each it prints "live" and waits for events, prints
// "done" and waits for silence, and in the end prints a line of JSON: what the console counted, and all that was wrong.

import { setTimeout as sleep } from "node:timers/promises";
import { flaws } from "./layout.mjs";
import { addressIn, runCode, sendsWhatItSays } from "./code.mjs";
import { openConsole } from "./page.mjs";

const WIDTHS = [1400, 1200, 390];
/** The places where the layout changes, from either side, and common windows. */
const MORE_WIDTHS = [1920, 1400, 1280, 1200, 1161, 1160, 1000, 781, 780, 768, 600, 390, 360];
const HEIGHT = 860;
/** As long as they may be; tests/console.rs has the same. */
const TENANT = `acme-${"x".repeat(123)}`;
const LONG_TOPIC = `long-${"y".repeat(244)}`;
const TYPES = ["order.paid", "order.created"];
const WHERE = ["value.total>=10", "value.text!=none"];
const TOKEN = "a-secret-of-somebody";
/** Rows that the console keeps. */
const ROWS = 200;
/** Events that must come before each next step. */
const AT_LEAST = 15;
const CUTS = 2;
const REPLAYED = 5;
/** What a step may take, in milliseconds. */
const STEP_MS = 8_000;
/** The stream is silent once no event came for this long, in milliseconds; the page draws its counters every 250. */
const SILENCE_MS = 700;

const { browser, page, complaints } = await openConsole();
await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);

const text = (selector) => page.locator(selector).first().textContent();
const count = async (id) => Number(await text(`#${id}`));
const rows = () => page.locator("#list > li").count();
const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
let doing = "";
const complain = (what) => complaints.push(`${doing}: ${what}`);
const expect = (what, holds) => holds || complain(`not so: ${what}`);
const look = async (state) => (await flaws(page)).forEach((flaw) => complain(`${state}: ${flaw}`));
const comes = (what, condition, argument) =>
  page.waitForFunction(condition, argument, { timeout: STEP_MS }).catch(() => complain(`did not come: ${what}`));
const enters = (state) => comes(`the state ${state}`, (state) => document.getElementById("state").dataset.state === state, state);
const eventsReach = (number) => comes(`event ${number}`, (number) => Number(document.getElementById("events").textContent) >= number, number);
// What is hidden or covered is complained of by the look; the click comes all the same, so that the rest is seen, too.
const press = async (selector) => {
  const target = page.locator(selector).first();
  await target.click({ timeout: STEP_MS }).catch(() => {
    complain(`${selector} cannot be clicked`);
    return target.dispatchEvent("click");
  });
};

for (const width of WIDTHS) {
  doing = `${width} px`;
  await page.setViewportSize({ width, height: HEIGHT });
  await page.goto(process.argv[2]);
  await look("idle");
  await fillTheForm();
  await start();
  await look("live");
  console.log("live");
  await eventsReach(AT_LEAST);
  await cut();
  await pauseAndReadARecord();
  await clear();
  console.log("done");
  for (let before = -1, now; (now = await count("events")) !== before; before = now) await sleep(SILENCE_MS);
  const [events, cuts, lost, repeated] = await Promise.all(["events", "cuts", "lost", "repeated"].map(count));
  const verified = Number(await page.locator("#lost").getAttribute("data-verified"));
  await copy();
  if (width === WIDTHS[0]) await lookAtMoreWidths("with events");
  await page.setViewportSize({ width, height: HEIGHT });
  await startAtTheLast();
  await stop();
  await beRefused();
  if (width === WIDTHS[0]) await lookAtMoreWidths("refused");
  await page.setViewportSize({ width, height: HEIGHT });
  await writeWhatMustBeEscaped();
  console.log(JSON.stringify({ width, events, cuts, lost, repeated, verified, complaints: complaints.splice(0) }));
}
await browser.close();

async function lookAtMoreWidths(state) {
  for (const width of MORE_WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    await look(`${state}, then ${width} px wide`);
  }
}

async function fillTheForm() {
  expect("nothing can be stopped, cut or copied yet", await page.evaluate(() => ["stop", "cut", "copy-id"].every((id) => document.getElementById(id).disabled)));
  await page.fill("#tenant", TENANT);
  await comes("the served topics", () => document.querySelectorAll("#topic-names option").length >= 3);
  await page.fill("#topics", "orders, ");
  const offered = await page.locator("#topic-names option").evaluateAll((options) => options.map(({ value }) => value));
  expect("a list of topics is completed, each topic once", offered.includes(`orders, ${LONG_TOPIC}`) && !offered.includes("orders, orders"));
  await page.fill("#topics", `orders, ${LONG_TOPIC}`);
  await page.fill("#type", TYPES.join(", "));
  await page.fill("#where", WHERE.join("\n"));
  await page.fill("#from", "latest");
  await press("#access summary");
  await page.fill("#token", TOKEN);
  await look("filled");
  const address = addressIn(await text("#code"));
  const all = (name) => address.searchParams.getAll(name).join();
  expect("the code has the tenant", address.pathname === `/t/${TENANT}/events`);
  expect("the code has the topics", all("topic") === `orders,${LONG_TOPIC}`);
  expect("the code has the types", all("type") === TYPES.join());
  expect("the code has the filters", all("where") === WHERE.join());
  expect("the code has the start and the envelope", all("from") === "latest" && all("envelope") === "record");
  expect("the code asks for the token", (await text("#code")).includes("access_token"));
}

async function start() {
  await press("#start");
  await enters("live");
  const address = decodeURIComponent(page.url());
  expect("the address bar has the form, the token nobody", address.includes(TENANT) && !address.includes(TOKEN) && !(await text("#code")).includes(TOKEN));
}

async function cut() {
  for (let cuts = 1; cuts <= CUTS; cuts++) {
    const before = await count("events");
    // A cut lasts 300 ms.
    const left = comes("a state that is not live", () => document.getElementById("state").dataset.state !== "live");
    await press("#cut");
    await left;
    await enters("live");
    await comes(`cut ${cuts}`, (cuts) => Number(document.getElementById("cuts").textContent) === cuts, cuts);
    await eventsReach(before + AT_LEAST);
  }
}

async function pauseAndReadARecord() {
  await press("#pause");
  const held = await rows();
  await press("#list summary");
  expect("a record opens", JSON.parse(await text("#list details[open] pre")).value.total >= 10);
  await look("a record is open");
  await eventsReach((await count("events")) + AT_LEAST);
  expect("the pause holds the rows", (await rows()) === held);
  expect("the pause tells what is new", /^Go on \(\d+ new\)$/.test(await text("#pause")));
  await press("#pause");
  await comes("the rows of the pause", (rows) => document.querySelectorAll("#list > li").length >= rows, Math.min(held + 10, ROWS));
  expect("the pause is over", (await text("#pause")) === "Pause");
}

async function clear() {
  await press("#pause");
  await press("#clear");
  expect("the list is empty", (await rows()) === 0 && (await text("#empty strong")) === "Listening" && (await page.isVisible("#empty")));
  await look("cleared");
  await press("#pause");
  await comes("rows after the clearing", () => document.querySelectorAll("#list > li").length >= 5);
}

async function copy() {
  await press("#copy-code");
  await comes("the word that it is copied", () => document.getElementById("copy-code").textContent === "Copied");
  expect("the code is copied", (await clipboard()) === (await text("#code")));
  // As where the page came by plain http from another machine: there is no clipboard.
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined, configurable: true }));
  await press("#copy-id");
  await comes("the word that it is copied", () => document.getElementById("copy-id").textContent === "Copied");
  await page.evaluate(() => delete navigator.clipboard);
  expect("the id is copied", (await clipboard()) === (await text("#id .raw")));
  const named = await page.locator("#id .title span").allTextContents();
  expect("the id's topics have names", named.sort().join() === [LONG_TOPIC, "orders"].join());
}

async function startAtTheLast() {
  await page.fill("#from", `-${REPLAYED}`);
  await press("#start");
  await enters("live");
  await comes(`${REPLAYED} events`, (events) => Number(document.getElementById("events").textContent) === events, REPLAYED);
  expect("as many are told to be replayed", (await text("#lane")).includes(`${REPLAYED} replayed`));
  const heard = await runCode(browser, process.argv[2], await text("#code"), REPLAYED);
  expect("the code hears the same in a page", heard.length === REPLAYED && heard.every(({ type, record }) => TYPES.includes(type) && record.value.total >= 10));
}

async function stop() {
  await press("#stop");
  await enters("idle");
  expect("it is stopped", (await text("#lane b")) === "Stopped" && (await page.isDisabled("#stop")) && (await page.isDisabled("#cut")));
}

async function beRefused() {
  const before = complaints.length;
  await page.fill("#topics", "z".repeat(249));
  await press("#start");
  await enters("refused");
  expect("the refusal is shown", (await text("#empty strong")) === "Refused" && (await text("#lane")).includes("404"));
  await look("refused");
  // A refusal is an error in the browser's own eyes, too.
  const others = complaints.splice(before).filter((complaint) => !complaint.includes("status of 404"));
  complaints.push(...others);
}

async function writeWhatMustBeEscaped() {
  const fields = { tenant: `ä/?#"'</script>\\`, topics: ["a<b"], types: [`c"d</script>`, "<!--"], where: [`value.x='"&+%#</script>\\\\`], from: "" };
  await page.fill("#tenant", fields.tenant);
  await page.fill("#topics", fields.topics.join());
  await page.fill("#type", fields.types.join());
  await page.fill("#where", fields.where.join("\n"));
  await page.fill("#from", fields.from);
  await page.fill("#token", "");
  expect("the code says what the form says, whatever that is", await sendsWhatItSays(browser, await text("#code"), fields));
}
