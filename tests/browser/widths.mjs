// Uses every field and every button of the console in a window as wide as a line of input says. It prints "live" and waits for
// events, prints "done" and waits for silence, and in the end prints a line of JSON: what the console counted, and all that was wrong.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { flaws } from "./layout.mjs";
import { addressIn, runCode, sendsWhatItSays } from "./code.mjs";
import { openConsole } from "./page.mjs";
import { Steps } from "./steps.mjs";

/** In a window of this width, others are tried, too: the places where the layout changes, from either side, and common windows. */
const WIDE = 1400;
const MORE_WIDTHS = [1920, 1400, 1280, 1101, 1100, 1000, 781, 780, 768, 600, 521, 520, 390, 360];
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
/** The stream is silent once no event came for this long, in milliseconds; the page draws its counters every 250. */
const SILENCE_MS = 700;

const { browser, page, complaints } = await openConsole();
await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
const steps = new Steps(page, complaints);
const look = async (state) => (await flaws(page)).forEach((flaw) => steps.complain(`${state}: ${flaw}`));
const rows = () => page.locator("#list > .event").count();
const code = async (language) => {
  await steps.press("#tab-code");
  await page.getByRole("tab", { name: language, exact: true }).click();
  return steps.text("#code");
};

const [line] = await once(createInterface({ input: process.stdin }), "line");
const width = Number(line);
steps.doing = `${width} px`;
await page.setViewportSize({ width, height: HEIGHT });
await look("idle");
await fillTheForm();
await start();
await look("live");
console.log("live");
await steps.reaches(AT_LEAST);
await cut();
await pauseAndReadARecord();
await clear();
console.log("done");
for (let before = -1, now; (now = await steps.count("events")) !== before; before = now) await sleep(SILENCE_MS);
const [events, cuts, lost, repeated] = await Promise.all(["events", "cuts", "lost", "repeated"].map((id) => steps.count(id)));
const verified = Number(await page.locator("#lost").getAttribute("data-verified"));
await copy();
if (width === WIDE) await lookAt(MORE_WIDTHS, "with events");
await page.setViewportSize({ width, height: HEIGHT });
await startAtTheLast();
await stop();
await beRefused();
await writeWhatMustBeEscaped();
console.log(JSON.stringify({ width, events, cuts, lost, repeated, verified, complaints }));
await browser.close();

async function lookAt(widths, state) {
  for (const width of widths) {
    await page.setViewportSize({ width, height: HEIGHT });
    await look(`${state}, then ${width} px wide`);
  }
}

async function fillTheForm() {
  steps.expect("nothing can be stopped, cut or copied yet", await page.evaluate(() => ["stop", "cut", "cut-below", "copy-id", "replay-start"].every((id) => document.getElementById(id).disabled)));
  await steps.comes("the served topics", () => document.querySelectorAll("#topic-chips button").length >= 3);
  await steps.fill({ tenant: TENANT, topics: [], types: TYPES, where: WHERE, from: "latest" });
  // One is pressed, the other typed.
  await steps.press("#topic-chips button[title=orders]");
  await page.fill("#topic", LONG_TOPIC);
  await page.press("#topic", "Enter");
  steps.same("the chips that are on", (await steps.texts("#topic-chips [aria-pressed=true] .name")).sort(), [LONG_TOPIC, "orders"].sort());
  await steps.press("#access summary");
  await page.fill("#token", TOKEN);
  await look("filled");
  const text = await code("EventSource");
  const address = addressIn(text);
  const all = (name) => address.searchParams.getAll(name).sort();
  steps.same("the code has the tenant", address.pathname, `/t/${TENANT}/events`);
  steps.same("the code has the topics", all("topic"), [LONG_TOPIC, "orders"].sort());
  steps.same("the code has the types", all("type"), [...TYPES].sort());
  steps.same("the code has the filters", all("where"), [...WHERE].sort());
  steps.same("the code has the start and the envelope", [all("from"), all("envelope"), all("event")], [["latest"], ["record"], ["none"]]);
  steps.expect("the code asks for the token", text.includes("access_token"));
  await look("with code");
  await steps.press("#drawer-toggle");
}

async function start() {
  await steps.start();
  await steps.enters("live");
  const address = decodeURIComponent(page.url());
  steps.expect("the address bar has the form, the token nobody", address.includes(TENANT) && !address.includes(TOKEN) && !(await steps.text("#code")).includes(TOKEN));
  const isFolded = await page.isVisible("#fold");
  steps.expect("on a narrow window the form is a line", isFolded === (page.viewportSize().width <= 780) && (await page.isVisible("#form")) !== isFolded);
  if (isFolded) steps.expect("the line says what is read", (await steps.text("#fold-text")).startsWith(`${TENANT} · `) && (await steps.text("#fold-text")).endsWith(" · live"));
}

async function cut() {
  for (let cuts = 1; cuts <= CUTS; cuts++) {
    const before = await steps.count("events");
    // A cut lasts 300 ms.
    const left = steps.comes("a state that is not live", () => document.getElementById("state").dataset.state !== "live");
    await steps.cut();
    await left;
    await steps.enters("live");
    await steps.comes(`cut ${cuts}`, (cuts) => Number(document.getElementById("cuts").dataset.value) === cuts, cuts);
    await steps.reaches(before + AT_LEAST);
  }
}

async function pauseAndReadARecord() {
  await steps.press("#pause");
  const held = await rows();
  await steps.press("#list .toggle");
  const value = await page.locator("#list .details pre").first().textContent();
  steps.expect("a record opens", JSON.parse(value).total >= 10);
  await look("a record is open");
  await steps.reaches((await steps.count("events")) + AT_LEAST);
  steps.same("the pause holds the rows", await rows(), held);
  steps.expect("the pause tells what is new", /^Go on \([\d,]+ new\)$/.test(await steps.text("#pause")));
  await steps.press("#pause");
  await steps.comes("the rows of the pause", (rows) => document.querySelectorAll("#list > .event").length >= rows, Math.min(held + 10, ROWS));
  steps.same("the pause is over", await steps.text("#pause"), "Pause");
}

async function clear() {
  await steps.press("#pause");
  await steps.press("#clear");
  steps.expect("the list is empty", (await rows()) === 0 && (await steps.text("#empty strong")) === "Paused" && (await page.isVisible("#empty")));
  await look("cleared");
  await steps.press("#pause");
  await steps.comes("rows after the clearing", () => document.querySelectorAll("#list > .event").length >= 5);
}

/** Presses a button, and sees that it says what it has done; it says so for a second. */
async function copies(id) {
  const says = steps.comes("the word that it is copied", (id) => document.getElementById(id).textContent === "Copied", id);
  await steps.press(`#${id}`);
  await says;
}

async function copy() {
  const text = await code("curl");
  await copies("copy-code");
  steps.same("the code is copied", await steps.clipboard(), text);
  await steps.press("#tab-id");
  // As where the page came by plain http from another machine: there is no clipboard.
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined, configurable: true }));
  await copies("copy-id");
  await page.evaluate(() => delete navigator.clipboard);
  steps.same("the id is copied", await steps.clipboard(), await steps.text("#decoded .raw"));
  steps.same("the id's topics have names", (await steps.texts("#decoded .topic .name")).sort(), [LONG_TOPIC, "orders"].sort());
  await look("with an id");
  await steps.press("#tab-log");
  await look("with the log");
  await steps.press("#drawer-toggle");
  await steps.comes("the positions at the end", () => document.getElementById("behind").textContent === "at the end");
  steps.same("the positions' topics", (await steps.texts("#positions .topic .name")).sort(), [LONG_TOPIC, "orders"].sort());
}

async function startAtTheLast() {
  await steps.unfold();
  await page.fill("#from", `-${REPLAYED}`);
  await steps.start();
  await steps.enters("live");
  await steps.comes(`${REPLAYED} events`, (events) => Number(document.getElementById("events").dataset.value) === events, REPLAYED);
  steps.expect("as many are told to be replayed", (await steps.text("#lane")).includes(`${REPLAYED} replayed`));
  const heard = await runCode(browser, process.argv[2], await code("EventSource"), REPLAYED);
  steps.expect("the code hears the same in a page", heard.length === REPLAYED && heard.every(({ record }) => TYPES.includes(record.type) && record.value.total >= 10));
  await steps.press("#drawer-toggle");
}

async function stop() {
  await steps.unfold();
  await steps.press("#stop");
  await steps.enters("idle");
  steps.expect("it is stopped", (await steps.text("#lane b")) === "Stopped" && (await page.isDisabled("#stop")) && (await page.isDisabled("#cut")));
}

async function beRefused() {
  await steps.unfold();
  await page.fill("#topic", "z".repeat(249));
  await steps.start();
  await steps.enters("refused");
  steps.expect("the refusal is shown", (await steps.text("#empty strong")) === "Refused" && (await steps.text("#lane")).includes("404"));
  steps.same("the topic is marked", await steps.texts("#topic-chips .refused .name"), ["z".repeat(249)]);
  steps.expect("the form is there to be corrected", await page.isVisible("#topic"));
  await look("refused");
  // A refusal is an error in the browser's own eyes, too.
  steps.forget(404);
}

async function writeWhatMustBeEscaped() {
  const fields = { tenant: `ä/?#"'</script>\\`, topics: ["a<b"], types: [`c"d</script>`, "<!--"], where: [`value.x='"&+%#</script>\\\\`], from: "" };
  await page.fill("#token", "");
  await steps.fill(fields);
  steps.expect("the code says what the form says, whatever that is", await sendsWhatItSays(browser, await code("EventSource"), fields));
  await steps.press("#drawer-toggle");
}
