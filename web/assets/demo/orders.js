import { Tailrace } from "/tailrace.js";
import { $, eachFrame, element, glide, start } from "./board.js";

const STATES = ["created", "paid", "packed", "shipped", "delivered"];
const LEAVES_AFTER_MS = 12_000; // a delivered order
const subscription = { topics: ["orders"], from: "-300" };

let orders; // id -> the newest record of it
let changed; // ids, since the board was drawn
let newest = 0; // time of a record

start(subscription, ({ url, signal, onstate }) => {
  orders = new Map();
  changed = new Set();
  const stream = new Tailrace(url, { ...subscription, envelope: "record", signal, onstate });
  // Each record has the whole order, so the newest one replaces what was there.
  stream.on("*", (event) => {
    const { key, timestamp, value } = JSON.parse(event.data);
    orders.set(key, { ...value, time: timestamp });
    changed.delete(key);
    changed.add(key);
    newest = Math.max(newest, timestamp);
    draw();
  });
  return stream;
});

const cards = new Map(); // id -> element
const draw = eachFrame(() => glide(".order", () => {
  for (const [id, order] of orders) {
    if (order.state === "delivered" && newest - order.time > LEAVES_AFTER_MS) orders.delete(id);
  }
  for (const [id, card] of cards) {
    if (orders.has(id)) continue;
    cards.delete(id);
    card.remove();
  }
  for (const id of changed) if (orders.has(id)) place(orders.get(id));
  changed.clear();
  for (const state of STATES) {
    const inIt = [...orders.values()].filter((order) => order.state === state);
    $(state).querySelector(".count").textContent = inIt.length;
    $(state).querySelector(".sum").textContent = euros(inIt.reduce((sum, order) => sum + order.total, 0));
  }
}));

/** On top of the column of its state. */
function place({ id, state, item, quantity, customer, total }) {
  const card = cards.get(id) ?? element("li", { className: "order" });
  cards.set(id, card);
  card.replaceChildren(
    element("span", { className: "id", textContent: `#${id.split("-").at(-1)}` }),
    element("span", { className: "total", textContent: euros(total) }),
    element("span", { className: "item", textContent: quantity > 1 ? `${quantity} × ${item}` : item }),
    element("span", { className: "customer", textContent: customer }),
  );
  $(state).querySelector("ol").prepend(card);
}

const euros = (amount) => `€${amount.toLocaleString("en")}`;
