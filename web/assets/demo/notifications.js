import { Tailrace } from "/tailrace.js";
import { start, tenant } from "./board.js";
import { InboxView } from "./inbox.js";

const KEPT = 60;
const view = new InboxView({ user: open, read, forget });
const place = () => `tailrace.demo.${tenant}.${view.user}`;

/** {id, items}: what came, and the last event id. They are stored as one, so that they fit each other after a reload. */
let inbox;
const nothing = () => ({ id: "", items: [] });

function load(text) {
  try { inbox = JSON.parse(text ?? localStorage.getItem(place())); } catch { inbox = null; }
  if (!Array.isArray(inbox?.items)) inbox = nothing();
  view.show(inbox, place());
}

function save() {
  try { localStorage.setItem(place(), JSON.stringify(inbox)); } catch { /* a private window keeps nothing */ }
  view.show(inbox, place());
}

function open() {
  load();
  const subscription = { topics: ["notifications"], keys: [view.user], from: "-12", lastEventId: inbox.id };
  start(subscription, ({ url, isAgain, signal, onstate }) => {
    if (isAgain) inbox = nothing();
    view.keeps(inbox.items.length);
    const stream = new Tailrace(url, { ...subscription, lastEventId: inbox.id, envelope: "record", signal, onstate });
    stream.on("*", (event) => {
      const { partition, offset, timestamp, value } = JSON.parse(event.data);
      inbox.items.unshift({ ...value, at: `${partition}/${offset}/${timestamp}`, kind: event.type, time: timestamp });
      inbox.items.splice(KEPT);
      inbox.id = event.lastEventId;
      save();
    });
    stream.on("tailrace.synced", (event) => view.isBack(event.json().replayed));
    return stream;
  });
}

function read(items) {
  for (const item of items) item.isRead = true;
  save();
}

function forget() {
  inbox = nothing();
  save();
  open();
}

addEventListener("storage", ({ key, newValue }) => key === place() && load(newValue)); // another tab of the same inbox
open();
