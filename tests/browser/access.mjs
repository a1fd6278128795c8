// The console for everybody, on a server in the place of Tailrace, as a line of input says: "light" or "dark", without a finding of axe
// at three widths, without motion; "keyboard", everything by keyboard alone. Prints a line of JSON: how many things were looked at, and
// all that was wrong.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { flaws } from "./layout.mjs";
import { launch, openPage } from "./page.mjs";
import { StandIn } from "./stand-in.mjs";
import { Steps } from "./steps.mjs";

const WIDTHS = [1400, 768, 390];
const HEIGHT = 860;
const STATES = ["created", "paid", "packed"];
/** Rows are alike: a few are enough to look at. */
const RECORDS = 12;
/** Tab reaches everything within so many presses. */
const MOST_TABS = 90;

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const server = new StandIn({ orders: 12, [`long-${"y".repeat(244)}`]: 1 });
server.suggested = { topics: ["orders"], tenants: ["acme", "globex"], boards: [{ path: "demo/orders", title: "Orders" }], start: { tenant: "acme" } };
for (let n = 0; n < RECORDS; n++) {
  const state = STATES[n % 3];
  server.publish("orders", n % 12, { key: `acme-${n}`, type: `order.${state}`, headers: { tenant: "acme" }, value: { currency: "EUR", id: `acme-${n}`, state, total: n }, timestamp: Date.now() - n * 20_000 });
}
const address = await server.start();
const browser = await launch();
let checked = 0;
const all = [];

const [what] = await once(createInterface({ input: process.stdin }), "line");
if (what === "keyboard") {
  await byKeyboard(1400);
  await byKeyboard(390);
} else {
  // The tabs of the drawer in turn: each at some width, another one in the dark.
  const tabs = what === "light" ? ["log", "id", "code"] : ["id", "code", "log"];
  for (const [i, width] of WIDTHS.entries()) await lookAt(width, what, tabs[i]);
}
await browser.close();
await server.stop();
console.log(JSON.stringify({ checked, complaints: all }));

async function open(width, colorScheme, path = "") {
  // For what is looked at by a script that is put into the page: the policy is tried by all other scripts.
  const options = { viewport: { width, height: HEIGHT }, colorScheme, reducedMotion: "reduce", bypassCSP: true };
  const { page, complaints } = await openPage(browser, address + path, options);
  return { page, steps: new Steps(page, complaints) };
}

async function close({ page, steps }) {
  checked += steps.checked;
  all.push(...steps.complaints);
  await page.close();
}

async function lookAt(width, colorScheme, tab) {
  const opened = await open(width, colorScheme, "?tenant=acme&from=earliest&where=value.state=paid&autostart=1");
  const { page, steps } = opened;
  const look = async (what) => {
    steps.doing = `${width} px, ${colorScheme}, ${what}`;
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
    steps.expect(`axe looked: ${passes.length}`, passes.length > 20);
    for (const { id, nodes } of violations) steps.complain(`axe: ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).slice(0, 3).join(" | ")}`);
  };
  await steps.all(async () => {
    steps.doing = `${width} px, ${colorScheme}`;
    await steps.enters("live");
    await steps.reaches(RECORDS / 3);
    await steps.cut();
    await steps.says("#topic-chips", "/s");
    await page.locator("#list .toggle").first().click();
    await steps.unfold();
    steps.same("nothing moves", await page.evaluate(() => document.getAnimations().length), 0);
    const shades = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number));
    steps.expect(`it is ${colorScheme}`, shades.every((shade) => (colorScheme === "dark" ? shade < 60 : shade > 200)));
    await steps.press(`#tab-${tab}`);
    steps.checked++;
    (await flaws(page)).forEach((flaw) => steps.complain(flaw));
    await look(tab);
    await steps.press("#drawer-toggle");
    await steps.press("#picker summary");
    await look("columns");
  });
  await close(opened);
}

/** Starts, cuts, opens, filters, chooses columns, searches and decodes without a pointer. */
async function byKeyboard(width) {
  const opened = await open(width, "light", "?tenant=globex&from=earliest");
  const { page, steps } = opened;
  const press = (key) => page.keyboard.press(key);
  steps.doing = `${width} px, by keyboard`;
  const reach = async (selector) => {
    for (let tabs = 0; tabs < MOST_TABS; tabs++) {
      if (await page.evaluate((selector) => document.activeElement?.matches(selector), selector)) break;
      await press("Tab");
    }
    steps.expect(`${selector} is reached`, await page.evaluate((selector) => document.activeElement?.matches(selector), selector));
    steps.expect(`${selector} shows that it has the focus`, await page.evaluate(isMarked));
  };
  await steps.all(async () => {
    await page.locator("#tenant-chips button").first().waitFor();
    await reach("#tenant");
    await page.keyboard.type("x");
    await press("Backspace");
    await reach("#where");
    await page.keyboard.type("value.currency=EUR");
    await press("Enter");
    await press("Backspace");
    await page.keyboard.type("x");
    await press("Backspace");
    await press("Enter");
    steps.same("a condition is edited", await steps.texts("#conditions .text"), ["value.currency=EUR"]);
    await reach("#topic");
    await page.keyboard.type("orders");
    await press("Enter");
    await press("Shift+Tab");
    await page.evaluate(() => document.getElementById("start").blur());
    await page.focus("#from");
    await reach("#start");
    await press("Enter");
    await steps.enters("live");
    await steps.reaches(RECORDS);
    await reach(".cut-button");
    await press("Enter");
    await steps.comes("a cut", () => document.getElementById("cuts").dataset.value === "1");
    await steps.enters("live");
    await reach("#list .toggle");
    await press("ArrowDown");
    await press("ArrowDown");
    await press("End");
    await press("ArrowUp");
    await press("Enter");
    steps.same("the last but one is open", await page.locator("#list .event").nth(RECORDS - 2).locator(".details").count(), 1);
    await reach(".details .scalar");
    await press("Escape");
    steps.same("Escape closes it", await page.locator("#list .details").count(), 0);
    await reach("#search");
    await page.keyboard.type("acme-3");
    steps.same("it is found", await steps.text("#found"), `1 of ${RECORDS}`);
    await reach("#picker summary");
    await press("Enter");
    await reach("#columns input[value='value.total']");
    await press("Space");
    await press("Escape");
    steps.expect("a column", (await steps.texts("#titles .cell")).includes("total"));
    await reach("#tabs [role=tab]");
    await press("ArrowRight");
    steps.expect("the decoder", await page.isVisible("#paste"));
    await press("ArrowRight");
    await reach("#languages [role=tab]");
    await press("End");
    steps.expect("code for wscat", (await steps.text("#code")).startsWith("wscat"));
    await press("Escape");
    steps.expect("the drawer is closed", !(await page.isVisible("#panels")));
    await steps.unfold();
    await page.focus("#from");
    await reach("#stop");
    await press("Enter");
    await steps.enters("idle");
  });
  await close(opened);
}

// Runs in the page.
function isMarked() {
  const of = (element) => getComputedStyle(element);
  for (let at = document.activeElement; at && at !== document.body; at = at.parentElement) {
    if (of(at).outlineStyle !== "none" && parseFloat(of(at).outlineWidth) > 0) return true;
  }
  return false;
}
