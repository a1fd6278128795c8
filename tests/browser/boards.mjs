// Looks at the demo's boards, each in a window of its own, as a line of input says ("1400 light"): it cuts each three times, uses
// every button, and compares what is shown with what the server has. It prints a line of JSON for each line of input.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { flaws } from "./layout.mjs";
import { launch, openPage } from "./page.mjs";

const BOARDS = { orders, metrics, logs, notifications };
const FIRST = { orders: ".order", metrics: ".gauge.known", logs: "#lines li", notifications: ".notice" };
const CUTS = 3;
const HEIGHTS = { 1400: 860, 768: 1024, 390: 844 };
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const address = process.argv[2];

const browser = await launch();

/** How long it takes from the navigation to the first card, curve, line or notification, in milliseconds. */
async function timeFirst(board, window) {
  const context = await browser.newContext(window);
  const page = await context.newPage();
  await page.goto(`${address}demo/${board}`);
  const first = await page.waitForFunction((what) => document.querySelector(what) && performance.now(), FIRST[board], { polling: "raf" });
  const time = await first.jsonValue();
  await context.close();
  return time;
}

/** What was seen of a board, and all that was wrong. */
async function look(board, window) {
  const context = await browser.newContext(window);
  // A state or a notice may be over before it is looked for.
  await context.addInitScript(() => {
    globalThis.states = [];
    globalThis.notices = [];
    const note = (list, text) => text && text !== list.at(-1) && list.push(text);
    new MutationObserver(() => {
      note(globalThis.states, document.body?.dataset.state);
      note(globalThis.notices, document.getElementById("notice")?.textContent);
    }).observe(document, { subtree: true, childList: true, attributeFilter: ["data-state"] });
  });
  const { page, complaints } = await openPage(context, `${address}demo/${board}?tenant=acme`);
  const at = new Page(page, complaints);
  const seen = { complaints };
  try {
    await at.enters("live");
    await at.isWell("live");
    await cut(at, board);
    Object.assign(seen, await at.counters());
    await at.isWell("after the cuts");
    await BOARDS[board](at);
    await at.isWell("in the end");
    await links(at, board);
    await tenants(at, board);
  } catch (error) {
    complaints.push(`${error.message.split("\n")[0]}${at.doing && ` (${at.doing})`}`);
  }
  await context.close();
  return seen;
}

/** A page, with what is asked of all boards. */
class Page {
  doing = "";

  constructor(page, complaints) {
    this.page = page;
    this.complaints = complaints;
  }

  expect = (what, holds) => holds || this.complaints.push(`not so: ${what}`);
  text = (selector) => this.page.locator(selector).first().textContent();
  texts = (selector) => this.page.locator(selector).allTextContents();
  count = async (id) => Number((await this.text(`#${id}`)).replaceAll(",", ""));
  press = (selector) => this.page.locator(selector).first().click();
  comes = (what, condition, argument) => {
    this.doing = what;
    return this.page.waitForFunction(condition, argument, { polling: 50 }).catch(() => this.complaints.push(`did not come: ${what}`));
  };
  enters = (state) => this.comes(`the state ${state}`, (state) => document.body.dataset.state === state, state);

  async counters() {
    const names = ["events", "cuts", "compared", "lost", "repeated"];
    const values = await Promise.all(names.map(this.count));
    return { ...Object.fromEntries(names.map((name, i) => [name, values[i]])), verdict: (await this.text("#verdict")).replace(/[\d,]+ compared/, "N compared") };
  }

  /** The records of the server, as the address on the page asks for them. */
  records(from) {
    return this.page.evaluate(async (from) => {
      const asked = new URL(document.getElementById("address").href);
      asked.pathname = asked.pathname.replace("/events", "/records");
      asked.searchParams.delete("last_event_id");
      asked.searchParams.set("from", from);
      asked.searchParams.set("limit", "1000");
      return (await (await fetch(asked)).json()).records;
    }, from);
  }

  async isWell(when) {
    // Not while something glides over something else.
    await this.page.emulateMedia({ reducedMotion: "reduce" });
    await this.page.evaluate(() => document.getAnimations().forEach((animation) => animation.finish()));
    const found = await flaws(this.page);
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run());
    const broken = violations.map(({ id, nodes }) => `axe: ${id} at ${nodes.map(({ target }) => target).join(" and ")}`);
    this.complaints.push(...[...found, ...broken].map((what) => `${when}: ${what}`));
    await this.page.emulateMedia({ reducedMotion: null });
  }
}

async function cut(at, board) {
  for (let cuts = 1; cuts <= CUTS; cuts++) {
    const before = await at.count("compared");
    // The last one by the keyboard.
    if (cuts === CUTS) await at.page.locator("#cut").press("Enter");
    else await at.press("#cut");
    await at.comes(`cut ${cuts}, and its end`, (cuts) => globalThis.states.filter((state) => state === "cut").length === cuts && document.body.dataset.state === "live", cuts);
    await at.comes(`that the end of cut ${cuts} is told`, (cuts) => globalThis.notices.filter((text) => /^\d\d:\d\d:\d\d Back after \d+\.\d s\. /.test(text)).length === cuts, cuts);
    await at.comes(`a comparison after cut ${cuts} of ${board}`, (before) => Number(document.getElementById("compared").textContent.replaceAll(",", "")) > before, before);
  }
}

async function orders(at) {
  const columns = () => at.page.evaluate(() => [...document.querySelectorAll(".column")].map((column) => ({
    state: column.id, count: Number(column.querySelector(".count").textContent), sum: column.querySelector(".sum").textContent,
    cards: [...column.querySelectorAll(".order")].map((card) => ({ id: card.querySelector(".id").textContent, total: card.querySelector(".total").textContent })),
  })));
  const euros = (text) => Number(text.replace(/[€,]/g, ""));
  const before = await columns();
  for (const { state, count, sum, cards } of before) {
    at.expect(`the heading of ${state} is right`, count === cards.length && euros(sum) === cards.reduce((all, { total }) => all + euros(total), 0));
  }
  const stateOf = (board) => Object.fromEntries(board.flatMap(({ state, cards }) => cards.map(({ id }) => [id, state])));
  await at.comes("a card in another column", (before) => [...document.querySelectorAll(".order")].some((card) => {
    const was = before[card.querySelector(".id").textContent];
    return was && was !== card.closest(".column").id;
  }), stateOf(before));
  // Both go on: what the board shows lies between what the server had before and has after it.
  const states = before.map(({ state }) => state);
  const ofServer = async () => new Map((await at.records("-1000")).map(({ value }) => [`#${value.id.split("-")[1]}`, states.indexOf(value.state)]));
  let differ;
  for (let attempt = 0; attempt < 20; attempt++) {
    const earlier = await ofServer();
    const shown = stateOf(await columns());
    const later = await ofServer();
    differ = [...earlier].filter(([id, state]) => {
      const is = id in shown ? states.indexOf(shown[id]) : states.length - 1; // delivered orders leave
      return is < state || is > later.get(id);
    });
    if (!differ.length) break;
  }
  at.expect(`the board has the server's orders, but ${JSON.stringify(differ)}`, differ.length === 0);
}

async function metrics(at) {
  at.expect("there are five gauges", (await at.page.locator(".gauge.known").count()) === 5);
  const values = () => at.texts(".gauge strong");
  await at.comes("another value", (before) => [...document.querySelectorAll(".gauge strong")].some((now, i) => now.textContent !== before[i]), await values());
  const { from, to, holes, marks } = await at.page.evaluate(readChart);
  const oldest = Math.min(...(await at.records("-290s")).map(({ timestamp }) => timestamp));
  const share = Math.min(1, (Date.now() - oldest) / 300_000);
  at.expect(`the chart begins with the history: from ${from}, of ${share}`, Math.abs(1 - share - from) < 0.06);
  at.expect(`the chart reaches the present: ${to}`, to > 0.96);
  at.expect(`the line is unbroken: ${holes} holes`, holes === 0);
  // On a narrow chart, cuts that follow each other are one mark.
  at.expect(`the cuts are marked: ${marks}`, marks >= 1 && marks <= CUTS);
  await at.page.locator(".plot").first().scrollIntoViewIfNeeded();
  await at.page.locator(".u-over").first().hover({ position: { x: 200, y: 40 } });
  await at.comes("the value under the pointer, in all charts", () => [...document.querySelectorAll(".when")].every(({ textContent }) => /^\d\d:\d\d:\d\d$/.test(textContent)));
  await at.page.locator("h1").hover();
  await at.comes("the present value again", () => [...document.querySelectorAll(".when")].every(({ textContent }) => textContent === "now"));
}

/** Of the first chart: where its line begins and ends (0 to 1), columns without it between, and how many marks there are. Runs in the page. */
function readChart() {
  const canvas = document.querySelector(".gauge canvas");
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const over = document.querySelector(".gauge .u-over").getBoundingClientRect();
  const box = canvas.getBoundingClientRect();
  const scale = width / box.width;
  const [left, right, bottom] = [(over.left - box.left) * scale, (over.right - box.left) * scale, (over.bottom - box.top) * scale].map(Math.round);
  const colour = (name) => {
    const probe = new OffscreenCanvas(1, 1).getContext("2d");
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data;
  };
  const has = (x, [r, g, b], enough) => {
    let found = 0;
    for (let y = 0; y < bottom; y++) {
      const i = (y * width + x) * 4;
      found += data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 40;
    }
    return found >= enough;
  };
  const [line, mark] = [colour("--accent"), colour("--bad")];
  const columns = Array.from({ length: right - left }, (_, i) => ({ line: has(left + i, line, 1), mark: has(left + i, mark, 12) }));
  const first = columns.findIndex(({ line }) => line);
  const last = columns.findLastIndex(({ line }) => line);
  return {
    from: first / columns.length,
    to: last / columns.length,
    // A mark covers the line.
    holes: columns.filter(({ line }, i) => i > first && i < last && !line && ![-1, 0, 1].some((by) => columns[i + by].mark)).length,
    marks: columns.filter(({ mark }, i) => mark && !columns[i - 1]?.mark).length,
  };
}

async function logs(at) {
  const rows = () => at.page.locator("#lines li").evaluateAll((rows) => rows.map((row) => ({ level: row.className, service: row.querySelector(".service").textContent, message: row.querySelector(".message").textContent })));
  const filtered = async (what, shown, asked) => {
    await at.comes(`only ${what}`, ({ place, begins }) => {
      const texts = [...document.querySelectorAll(`#lines ${place}`)].map(({ textContent }) => textContent);
      return document.body.dataset.state === "live" && texts.length > 0 && texts.every((text) => begins.some((start) => text.startsWith(start)));
    }, shown);
    at.expect(`the address asks for ${what}`, new URL(await at.page.locator("#address").getAttribute("href")).searchParams.getAll("where").join(" ") === asked && (await at.text("#address")).includes(asked.split(" ")[0]));
    const theirs = await at.records("-200");
    const ours = await rows();
    at.expect(`the server sends ${what} as it says`, ours.length > 0 && theirs.length > 0 && theirs.every(({ value }) => ours.some(({ level }) => level === value.level)));
  };
  await at.page.check("[value=error]", { force: true });
  await filtered("errors", { place: "b", begins: ["error"] }, "value.level=error");
  await at.page.check("[value=warn]", { force: true });
  await at.comes("errors and warnings", () => ["warn", "error"].every((level) => document.querySelector(`#lines .${level}`)));
  await filtered("errors and warnings", { place: "b", begins: ["warn", "error"] }, "value.level=warn,error");
  await at.page.selectOption("[name=service]", "payments");
  await filtered("those of payments", { place: ".service", begins: ["payments"] }, "value.level=warn,error value.service=payments");
  await at.page.fill("[name=begins]", "slow q");
  await filtered("slow queries", { place: ".message", begins: ["slow q"] }, "value.level=warn,error value.service=payments value.message^=slow\\ q");
  // Whatever is written there is compared, and is no syntax.
  await at.page.fill("[name=begins]", `a=b,"c|(d)' \\ ~<>!^?`);
  await at.comes("no line", () => document.body.dataset.state === "live" && !document.getElementById("empty").hidden);
  await at.isWell("without a line");
  await at.page.fill("[name=begins]", "");
  await at.page.selectOption("[name=service]", "");
  for (const level of ["error", "warn"]) await at.page.uncheck(`[value=${level}]`, { force: true });
  await at.comes("all levels again", () => document.body.dataset.state === "live" && document.querySelector("#lines .info"));

  const number = () => at.page.locator("#lines li").count();
  await at.press("#pause");
  const held = await number();
  await at.comes("news while it is paused", () => /^Go on \([1-9]\d* new\)$/.test(document.getElementById("pause").textContent));
  at.expect("a pause holds the lines", (await number()) === held);
  await at.press("#pause");
  await at.comes("the lines of the pause", (held) => document.querySelectorAll("#lines li").length > held, held);
  at.expect("the pause is over", (await at.text("#pause")) === "Pause");

  const isAtTheEnd = () => { const { scrollHeight, scrollTop, clientHeight } = document.getElementById("lines"); return scrollHeight - scrollTop - clientHeight < 4; };
  await at.comes("the end, followed", isAtTheEnd);
  await at.page.locator("#lines").hover();
  await at.page.mouse.wheel(0, -600);
  await at.comes("that it follows no more", () => document.getElementById("follow").ariaPressed === "false");
  const before = await number();
  await at.comes("a line", (before) => document.querySelectorAll("#lines li").length > before, before);
  at.expect("who reads is not moved", !(await at.page.evaluate(isAtTheEnd)));
  await at.press("#follow");
  await at.comes("the end again", isAtTheEnd);
  await at.press("#pause");
  await at.press("#clear");
  at.expect("it is cleared", (await number()) === 0);
  await at.press("#pause");
  await at.comes("lines after the clearing", () => document.querySelectorAll("#lines li").length > 0);
}

async function notifications(at) {
  const stored = () => at.page.evaluate(() => JSON.parse(localStorage.getItem("tailrace.demo.acme.ada")));
  await at.press("#read");
  await at.comes("that all is read", () => document.getElementById("read").disabled || document.querySelectorAll(".notice.unread").length < 3);
  await at.comes("another one", () => document.querySelectorAll(".notice.unread").length > 0);
  at.expect("title and heading tell how many are unread", await at.page.evaluate(() => {
    const unread = document.querySelectorAll(".notice.unread").length;
    return document.title.startsWith(`(${unread}) Notifications`) && document.getElementById("unread").textContent === `${unread} unread`;
  }));
  await at.press(".notice.unread button");
  await at.comes("one that is read after a click", () => document.querySelector(".notice:not(.unread)"));
  await at.comes("that what is shown is stored, with the last event id", () => {
    const { id, items } = JSON.parse(localStorage.getItem("tailrace.demo.acme.ada"));
    return id.length > 10 && document.getElementById("last").textContent === id && items.length === document.querySelectorAll(".notice").length;
  });
  const { items } = await stored();

  await at.press("#reload");
  await at.comes("the page again, and what it kept", () => /^\d+ were kept in this browser, \d+ came since, none twice\.$/.test(document.getElementById("kept").textContent));
  await at.enters("live");
  await at.isWell("reloaded");
  const after = await stored();
  const places = after.items.map(({ at }) => at);
  at.expect("nothing came twice", new Set(places).size === places.length);
  at.expect("what was read is read", items.filter(({ isRead }) => isRead).every((item) => after.items.find(({ at }) => at === item.at)?.isRead));
  const theirs = (await at.records("-60")).filter(({ timestamp }) => timestamp >= after.items.at(-1).time).map(({ partition, offset, timestamp }) => `${partition}/${offset}/${timestamp}`);
  at.expect("the server has as many", theirs.length >= after.items.length);
  await at.comes("all that the server has", (theirs) => {
    const { items } = JSON.parse(localStorage.getItem("tailrace.demo.acme.ada"));
    return theirs.every((place) => items.some(({ at }) => at === place));
  }, theirs);

  await at.page.check("[value=grace]", { force: true });
  await at.comes("the inbox of another user", () => document.getElementById("key").textContent === "tailrace.demo.acme.grace" && document.querySelectorAll(".notice").length > 0 && document.body.dataset.state === "live");
  const { searchParams } = new URL(at.page.url());
  at.expect("the address has the user", searchParams.get("user") === "grace" && (await at.text("#address")).includes("key=grace"));
  await at.press("#forget");
  await at.comes("an inbox that began again", () => document.body.dataset.state === "live" && document.querySelectorAll(".notice").length > 0 && document.getElementById("kept").textContent === "");
  await at.page.goBack().catch(() => {});
  await at.page.goto(`${address}demo/notifications?tenant=acme&user=ada`);
  await at.enters("live");
}

async function links(at, board) {
  const names = await at.texts(".boards a");
  at.expect("the boards are linked, this one as the present", names.length === 4 && (await at.text(".boards [aria-current=page]")).toLowerCase() === board);
  const hrefs = await at.page.locator(".boards a, .brand, .origin a").evaluateAll((links) => links.map(({ href }) => href));
  for (const href of hrefs) {
    const answer = await at.page.evaluate(async (href) => {
      const end = new AbortController();
      const { status, headers } = await fetch(href, { signal: end.signal });
      end.abort();
      return { status, type: headers.get("Content-Type") };
    }, href);
    const type = href.endsWith(".js") ? "text/javascript" : href.includes("/events") ? "text/event-stream" : "text/html";
    at.expect(`${href} is there: ${JSON.stringify(answer)}`, answer.status === 200 && answer.type.startsWith(type));
  }
  const source = await at.page.evaluate((board) => fetch(`/assets/demo/${board}.js`).then((answer) => answer.text()), board);
  const lines = source.trimEnd().split("\n");
  at.expect(`its code can be read: ${lines.length} lines`, source.includes("new Tailrace(") && lines.length <= 60);
}

async function tenants(at, board) {
  await at.press(".tenants a:has-text('globex')");
  await at.page.waitForURL("**?tenant=globex");
  await at.page.waitForSelector(FIRST[board]);
  await at.enters("live");
  at.expect("the tenant is another", (await at.text(".tenants [aria-current]")) === "globex" && (await at.text("#address")).startsWith("/t/globex/events"));
  at.expect("the links to boards keep it", (await at.page.locator(".boards a").evaluateAll((links) => links.every(({ href }) => href.endsWith("?tenant=globex")))));
  if (board === "orders") {
    const shown = await at.texts(".order .id");
    const theirs = (await at.records("-1000")).map(({ value }) => value);
    at.expect("the orders are its own", theirs.every(({ id }) => id.startsWith("globex-")) && shown.length > 0 && shown.every((id) => theirs.some((order) => order.id === `globex-${id.slice(1)}`)));
  }

  await at.page.goto(`${address}demo/${board}?tenant=nobody`);
  await at.enters("live");
  at.expect("of a tenant that is not known, that is said", (await at.text("#notice")).includes("Nothing is known of “nobody”. The demo has acme, globex, initech."));
  await at.isWell("nobody's");
  const before = at.complaints.length;
  await at.page.goto(`${address}demo/${board}?tenant=*`);
  await at.enters("refused");
  at.expect("a refusal is told", /\(400\)/.test(await at.text("#notice")) && (await at.page.isDisabled("#cut")));
  await at.isWell("refused");
  // A refusal is an error in the browser's own eyes, too.
  at.complaints.push(...at.complaints.splice(before).filter((complaint) => !complaint.includes("status of 400")));
}

for await (const line of createInterface({ input: process.stdin })) {
  const [width, scheme] = line.split(" ");
  const window = { viewport: { width: Number(width), height: HEIGHTS[width] }, colorScheme: scheme };
  const seen = {};
  // One after the other, so that none waits for another.
  for (const board of Object.keys(BOARDS)) seen[board] = { first: await timeFirst(board, window) };
  await Promise.all(Object.keys(BOARDS).map(async (board) => Object.assign(seen[board], await look(board, window))));
  console.log(JSON.stringify(seen));
}
await browser.close();
