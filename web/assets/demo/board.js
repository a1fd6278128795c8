/**
 * What the boards of the demo share: the bar at the top, the state of the connection, the button that cuts it, and the
 * proof that the cuts do no harm. A page of your own needs none of it, only /tailrace.js.
 */
import { TopicNames } from "../event-id.js";
import { Proof } from "../proof.js";
import { witness } from "../witness.js";

const BOARDS = { orders: "Orders", metrics: "Metrics", logs: "Logs", notifications: "Notifications" };
const TENANTS = ["acme", "globex", "initech"];
const COUNTERS = ["events", "cuts", "compared", "lost", "repeated"];
const STATES = { connecting: "Connecting", open: "Catching up", live: "Live", cut: "Cut", waiting: "Waiting", refused: "Refused", closed: "Closed" };
/** How long a cut lasts: long enough to see that the board stands still. */
const CUT_MS = 1500;
const DRAW_MS = 250;
/** A screen reader is told the verdict no more often than this. */
const SAY_MS = 8000;
/** Over HTTP/1.1 a browser opens six connections to a server, and a board in sight takes two. */
const SLOW_MS = 6000;

export const tenant = new URLSearchParams(location.search).get("tenant") || TENANTS[0];
/** When the connection went away, in milliseconds since the epoch. */
export const disconnects = [];

/** An element: `element("li", { className: "card" }, "text", another)`. */
export const element = (name, properties = {}, ...content) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content);
  return made;
};
export const $ = (id) => document.getElementById(id);
export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
/** How long ago it was, in a word. */
export function age(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

/** A function that runs `draw` once in the next frame, however often it is called until then. */
export function eachFrame(draw) {
  let frame = 0;
  return () => (frame ||= requestAnimationFrame(() => ((frame = 0), draw())));
}

/** Makes a change of the page; what it moves glides there, and what is new fades in. */
export function glide(selector, change) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return change();
  const timing = { duration: 500, easing: "cubic-bezier(.2, .8, .2, 1)" };
  const before = new Map([...document.querySelectorAll(selector)].map((moved) => [moved, moved.getBoundingClientRect()]));
  for (const moved of before.keys()) moved.getAnimations().forEach((running) => running.id === "glide" && running.cancel());
  change();
  for (const moved of document.querySelectorAll(selector)) {
    const from = before.get(moved);
    const to = moved.getBoundingClientRect();
    if (!from) moved.animate([{ opacity: 0 }, { opacity: 1 }], { ...timing, id: "glide" });
    else if (from.x !== to.x || from.y !== to.y) {
      const zIndex = from.x === to.x ? 0 : 1; // what goes to another column is above the others
      moved.animate([{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)`, zIndex }, { transform: "none", zIndex }], { ...timing, id: "glide" });
    }
  }
}

// ---------------------------------------------------------------- the run

let run = null;

/**
 * Starts a board, or starts it anew with another subscription.
 *
 * @param {object} subscription  options of Tailrace: topics, keys, where, from, lastEventId
 * @param {(given: {url: string, isAgain: boolean, signal: AbortSignal, onstate: Function}) => Tailrace} open
 *        opens the stream. It is called again, with `isAgain`, when what the page shows is not true any more.
 */
export function start(subscription, open, isAgain = false) {
  run?.end.abort();
  const current = {
    subscription, open, end: new AbortController(), state: "connecting", events: 0, cuts: 0,
    before: { verified: 0, lost: 0, repeated: 0 }, // what was compared before the page was out of sight
  };
  run = current;
  const url = `/t/${encodeURIComponent(tenant)}/events`;
  current.address = addressOf(url, subscription);
  $("address").textContent = readable(current.address);
  $("address").href = current.address;
  const onstate = (state, detail) => current === run && changed(current, state, detail);
  current.slow = setTimeout(() => say("warn", "Still connecting. Over HTTP/1.1 a browser shares six connections to a server among all its tabs: close some."), SLOW_MS);
  current.stream = open({ url, isAgain, signal: current.end.signal, onstate });
  current.stream.on("*", (event) => received(current, event));
  current.stream.on("tailrace.gap", "tailrace.synced", "tailrace.status", "tailrace.drain", "tailrace.error", (event) => controlled(current, event));
  draw();
}

function addressOf(url, { topics = [], keys = [], where = [], from, lastEventId }) {
  const address = new URL(url, location);
  for (const [name, values] of Object.entries({ topic: topics, key: keys, where })) {
    values.forEach((value) => address.searchParams.append(name, value));
  }
  address.searchParams.set("envelope", "record");
  if (lastEventId) address.searchParams.set("last_event_id", lastEventId);
  else if (from) address.searchParams.set("from", from);
  return address;
}

// As it is written in the documentation, before it is escaped.
const readable = ({ pathname, search }) => decodeURIComponent(pathname) + decodeURIComponent(search.replaceAll("+", " "));

function received(current, event) {
  const record = JSON.parse(event.data);
  current.events++;
  testify(current, event.lastEventId);
  current.proof?.record("subject", record, event.type);
}

/**
 * Begins the comparison, at an id of the stream: a second connection, which the button does not cut, reads the same.
 * Nobody looks at a page that is hidden: it leaves the second connection to others.
 */
function testify(current, id) {
  if (current.proof || document.hidden || !id) return;
  const names = new TopicNames();
  names.learn(current.subscription.topics);
  const proof = new Proof(names);
  const address = new URL(current.address);
  for (const [name, value] of [["last_event_id", id], ["heartbeat", "15s"]]) address.searchParams.set(name, value);
  address.searchParams.delete("from");
  current.proof = proof;
  current.look = new AbortController();
  witness(address, {
    signal: AbortSignal.any([current.end.signal, current.look.signal]),
    onid() {}, onrefused() {}, onstate() {},
    onevent(type, data) {
      if (type === "tailrace.gap") proof.gap("witness", JSON.parse(data));
      else if (!type.startsWith("tailrace.")) proof.record("witness", JSON.parse(data), type);
    },
  });
}

function endTestimony(current) {
  current.look?.abort();
  current.before = compared(current);
  current.proof = current.look = null;
}

function compared({ proof, before, stream }) {
  if (!proof) return before;
  try {
    if (stream.lastEventId) proof.passed(stream.lastEventId);
  } catch { /* an id that a page cannot read, such as a sealed one: only what came is compared */ }
  const sum = (name) => before[name] + proof[name];
  return { verified: sum("verified"), lost: sum("lost"), repeated: sum("repeated") };
}

const GAPS = { recreated: "the topic was created anew", truncated: "the topic's log was cut back", deleted: "the topic is gone", unknown_id: "the server does not know the last event id" };

function controlled(current, event) {
  const data = JSON.parse(event.data);
  switch (event.type) {
    case "tailrace.gap":
      if (data.code === "retention") {
        current.proof?.gap("subject", data);
        return say("warn", `Kafka no longer has ${data.to - data.from} of the records that were missed.`);
      }
      // What is on the page may be of another log.
      say("warn", `Started over: ${GAPS[data.code] ?? data.code}.`);
      return start({ ...current.subscription, lastEventId: "" }, current.open, true);
    case "tailrace.synced":
      testify(current, event.lastEventId);
      enter(current, "live");
      if (current.awaySince) {
        const seconds = ((Date.now() - current.awaySince) / 1000).toFixed(1);
        say("good", `Back after ${seconds} s. ${data.replayed ? `${counted(data.replayed, "missed event")} came first, then what is new.` : "Nothing had happened meanwhile."}`);
        current.awaySince = 0;
      } else if (!current.events && !TENANTS.includes(tenant)) {
        say("warn", `Nothing is known of “${tenant}”. The demo has ${TENANTS.join(", ")}.`);
      }
      return;
    case "tailrace.status":
      if (data.code === "ok") return data.message || say("good", "Up to date again.");
      return say("warn", data.code === "lagging" ? "The server is behind Kafka." : "The server cannot reach Kafka.");
    case "tailrace.drain":
    case "tailrace.error":
      return say("warn", `The server ends this connection (${data.code}); back in ${((data.retry_ms ?? 2000) / 1000).toFixed(1)} s.`);
  }
}

function changed(current, state, detail = {}) {
  if (state !== "connecting") clearTimeout(current.slow);
  if (state === "open") return enter(current, "open");
  if (["live", "open"].includes(current.state)) {
    current.awaySince ||= Date.now();
    disconnects.push(Date.now());
  }
  if (state === "waiting") current.until = Date.now() + detail.delay;
  if (state === "waiting" && detail.reason !== "cut") say("warn", `No connection: ${detail.reason}.`);
  if (state === "refused") say("bad", `${detail.title ?? "Refused"} (${detail.status}). ${detail.detail ?? ""}`);
  // Between a cut and the end of the reconnect the page says "cut".
  const isCut = detail.reason === "cut" || (state === "connecting" && current.state === "cut");
  enter(current, isCut ? "cut" : state);
}

function enter(current, state) {
  current.state = state;
  document.body.dataset.state = state;
  draw();
}

function pressed() {
  // In the middle of a wait, the same button ends it.
  if (run.state === "waiting") return run.stream.cut(0);
  run.cuts++;
  run.stream.cut(CUT_MS);
}

addEventListener("visibilitychange", () => (document.hidden ? endTestimony(run) : testify(run, run.stream.lastEventId)));
// A page that the browser keeps for its Back button holds no connection: Tailrace closes its own, and opens it when it is shown.
addEventListener("pagehide", () => { endTestimony(run); run.awaySince = Date.now(); });

// ---------------------------------------------------------------- drawing

const number = new Intl.NumberFormat("en");
const counted = (count, what) => `${number.format(count)} ${what}${count === 1 ? "" : "s"}`;

function verdict({ cuts }, { verified, lost, repeated }) {
  const cut = cuts ? counted(cuts, "cut") : "No cut yet";
  if (lost || repeated) return `${cut}, ${number.format(verified)} compared: ${number.format(lost)} lost, ${number.format(repeated)} repeated`;
  return verified ? `${cut}, ${number.format(verified)} compared, all there once` : `${cut}, nothing compared yet`;
}

const write = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

function draw() {
  const sums = compared(run);
  const isWaiting = run.state === "waiting";
  const left = Math.max(0, Math.ceil((run.until - Date.now()) / 1000));
  write("state", isWaiting ? `${navigator.onLine ? "Again" : "Offline, again"} in ${left} s` : STATES[run.state]);
  write("verdict", verdict(run, sums));
  const values = { events: run.events, cuts: run.cuts, compared: sums.verified, lost: sums.lost, repeated: sums.repeated };
  for (const name of COUNTERS) write(name, number.format(values[name]));
  $("proof").classList.toggle("broken", sums.lost + sums.repeated > 0);
  $("proof").classList.toggle("proved", run.cuts > 0 && run.state === "live" && sums.verified > 0 && sums.lost + sums.repeated === 0);
  write("cut", isWaiting ? "Try now" : "Cut the connection");
  $("cut").disabled = !["open", "live", "waiting"].includes(run.state);
}

function say(kind, text) {
  const notice = $("notice");
  notice.className = kind;
  notice.replaceChildren(element("time", { textContent: clock(Date.now()) }), ` ${text}`);
}

let saidAt = 0;
function sayVerdict() {
  const text = $("verdict").textContent;
  if (run.state !== "live" || !run.cuts || Date.now() - saidAt < SAY_MS || $("said").dataset.cuts === `${run.cuts}`) return;
  saidAt = Date.now();
  $("said").dataset.cuts = run.cuts;
  $("said").textContent = text;
}

function layOut() {
  const here = location.pathname.split("/").at(-1);
  const link = (text, href, isHere, kind) => {
    const made = element("a", { href, textContent: text });
    if (isHere) made.ariaCurrent = kind;
    return made;
  };
  const query = `?tenant=${encodeURIComponent(tenant)}`;
  const boards = Object.entries(BOARDS).map(([name, title]) => link(title, `/demo/${name}${query}`, name === here, "page"));
  const tenants = [...new Set([...TENANTS, tenant])].map((name) => link(name, `?tenant=${encodeURIComponent(name)}`, name === tenant, "true"));
  const nav = (label, className, links) => element("nav", { ariaLabel: label, className }, ...links);
  const counters = COUNTERS.map((name) => element("div", {}, element("dt", { textContent: name }), element("dd", { id: name, textContent: "0" })));
  const cut = element("button", { id: "cut", type: "button", className: "primary", textContent: "Cut the connection", disabled: true });
  cut.addEventListener("click", pressed);
  document.body.prepend(
    element("header", { className: "top" },
      element("a", { className: "brand", href: "/", title: "The console" }, "Tailrace", element("small", { textContent: "console" })),
      nav("Boards", "boards", boards),
      nav("Tenant", "tenants", tenants)),
    element("section", { id: "proof", ariaLabel: "Connection", className: "proof card" },
      element("p", { id: "state", className: "state" }),
      element("p", { id: "verdict", className: "verdict" }),
      element("dl", { className: "counters" }, ...counters),
      cut,
      element("p", { id: "notice", role: "status", textContent: "Cut it as often as you like. A second connection, which is not cut, reads the same, and what came is compared." }),
      element("p", { id: "said", role: "status", className: "visually-hidden" })));
  setInterval(() => { draw(); sayVerdict(); }, DRAW_MS);
}

layOut();
