import { Tailrace } from "/tailrace.js";
import { $, age, eachFrame, element, glide, start, tenant } from "./board.js";

const KEPT = 60;
const user = () => $("users").elements.user.value;
const place = () => `tailrace.demo.${tenant}.${user()}`;
const isUnread = ({ isRead }) => !isRead;

/** {id, items}: what came, and the last event id. They are stored as one, so that they fit each other after a reload. */
let inbox;
const nothing = () => ({ id: "", items: [] });

function load(text) {
  try { inbox = JSON.parse(text ?? localStorage.getItem(place())); } catch { inbox = null; }
  if (!Array.isArray(inbox?.items)) inbox = nothing();
  show();
}

function save() {
  try { localStorage.setItem(place(), JSON.stringify(inbox)); } catch { /* a private window keeps nothing */ }
  show();
}

/** The title at once, for whoever has the page in the background, where nothing is drawn. */
function show() {
  const unread = inbox.items.filter(isUnread).length;
  document.title = `${unread ? `(${unread}) ` : ""}Notifications · Tailrace`;
  draw();
}

function open() {
  load();
  let known = inbox.items.length;
  $("kept").textContent = "";
  const subscription = { topics: ["notifications"], keys: [user()], from: "-12", lastEventId: inbox.id };
  start(subscription, ({ url, isAgain, signal, onstate }) => {
    if (isAgain) inbox = nothing();
    const stream = new Tailrace(url, { ...subscription, lastEventId: inbox.id, envelope: "record", signal, onstate });
    stream.on("*", (event) => {
      const { partition, offset, timestamp, value } = JSON.parse(event.data);
      inbox.items.unshift({ ...value, at: `${partition}/${offset}/${timestamp}`, kind: event.type, time: timestamp });
      inbox.items.splice(KEPT);
      inbox.id = event.lastEventId;
      save();
    });
    stream.on("tailrace.synced", ({ data }) => {
      const twice = inbox.items.length - new Set(inbox.items.map(({ at }) => at)).size;
      if (known && !isAgain) $("kept").textContent = `${known} were kept in this browser, ${JSON.parse(data).replayed} came since, ${twice || "none"} twice.`;
      known = 0;
    });
    return stream;
  });
}

const rows = new Map(); // place in Kafka -> element
const draw = eachFrame(() => glide(".notice", () => {
  const unread = inbox.items.filter(isUnread).length;
  $("unread").textContent = `${unread} unread`;
  $("read").disabled = !unread;
  for (const [at, row] of rows) {
    if (inbox.items.some((item) => item.at === at)) continue;
    rows.delete(at);
    row.remove();
  }
  for (const item of inbox.items.toReversed()) {
    if (!rows.has(item.at)) $("inbox").prepend(makeRow(item));
  }
  for (const item of inbox.items) rows.get(item.at).classList.toggle("unread", isUnread(item));
  $("empty").hidden = rows.size > 0;
  $("key").textContent = place();
  $("last").textContent = inbox.id || "–";
  tellAges();
}));

function makeRow({ at, from, text, kind, time }) {
  const face = element("i", { className: `face ${kind}`, textContent: from[0], ariaHidden: "true" });
  const words = element("span", { className: "text" }, element("b", { textContent: from }), text.slice(from.length));
  const button = element("button", { type: "button" }, face, words, element("time", { dateTime: new Date(time).toISOString() }));
  button.addEventListener("click", () => read((item) => item.at === at));
  rows.set(at, element("li", { className: "notice" }, button));
  return rows.get(at);
}

function read(which) {
  inbox.items.filter(which).forEach((item) => (item.isRead = true));
  save();
}

function tellAges() {
  for (const time of document.querySelectorAll("#inbox time")) time.textContent = age(new Date(time.dateTime));
}

const chosen = new URLSearchParams(location.search).get("user");
if ([...$("users").elements.user].some(({ value }) => value === chosen)) $("users").elements.user.value = chosen;
$("users").addEventListener("change", () => {
  history.replaceState(null, "", `?${new URLSearchParams({ tenant, user: user() })}`);
  open();
});
$("reload").addEventListener("click", () => location.reload());
$("forget").addEventListener("click", () => {
  inbox = nothing();
  save();
  open();
});
$("read").addEventListener("click", () => read(isUnread));
addEventListener("storage", ({ key, newValue }) => key === place() && load(newValue)); // another tab of the same inbox
setInterval(tellAges, 1000);
open();
