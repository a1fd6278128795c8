import { Tailrace } from "/tailrace.js";
import { $, clock, element, start } from "./board.js";
import { Tail } from "./tail.js";

const form = $("filter");
const tail = new Tail(line);

/** The server compares: lines that do not match are not sent. */
function filters() {
  const chosen = new FormData(form);
  const escape = (text) => text.replace(/[,\\=<>"'~|() ]/g, "\\$&");
  const where = [];
  if (chosen.getAll("level").length) where.push(`value.level=${chosen.getAll("level")}`);
  if (chosen.get("service")) where.push(`value.service=${chosen.get("service")}`);
  if (chosen.get("begins")) where.push(`value.message^=${escape(chosen.get("begins"))}`);
  return where;
}

/** Another filter is another stream. */
function open() {
  const subscription = { topics: ["logs"], where: filters(), from: "-200" };
  start(subscription, ({ url, signal, onstate }) => {
    tail.clear();
    const stream = new Tailrace(url, { ...subscription, envelope: "record", signal, onstate });
    stream.on("*", (event) => tail.add(JSON.parse(event.data)));
    return stream;
  });
}

function line({ timestamp, value }) {
  const cell = (name, className, textContent) => element(name, { className, textContent });
  return element("li", { className: value.level },
    cell("time", "time", `${clock(timestamp)}.${String(timestamp % 1000).padStart(3, "0")}`),
    cell("b", "level", value.level),
    cell("span", "service", value.service),
    cell("span", "message", value.message),
    cell("span", "ms", `${value.ms} ms`),
    cell("span", "trace", value.trace),
  );
}

let timer;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(open, 250);
});
form.addEventListener("submit", (event) => event.preventDefault());
open();
