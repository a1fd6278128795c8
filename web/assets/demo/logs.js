import { Tailrace } from "/tailrace.js";
import { $, clock, eachFrame, element, start } from "./board.js";

const ROWS = 400;
const form = $("filter");
const list = $("lines");
let waiting = []; // lines that are not drawn yet
let isPaused = false;
let isFollowing = true;

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

function open() {
  const subscription = { topics: ["logs"], where: filters(), from: "-200" };
  start(subscription, ({ url, signal, onstate }) => {
    clear();
    const stream = new Tailrace(url, { ...subscription, envelope: "record", signal, onstate });
    stream.on("*", (event) => {
      waiting.push(JSON.parse(event.data));
      if (waiting.length > ROWS) waiting.shift();
      draw();
    });
    return stream;
  });
}

const draw = eachFrame(() => {
  $("pause").textContent = isPaused ? `Go on (${waiting.length} new)` : "Pause";
  if (isPaused) return;
  list.append(...waiting.splice(0).map(line));
  while (list.childElementCount > ROWS) list.firstElementChild.remove();
  $("empty").hidden = list.childElementCount > 0;
  if (isFollowing) list.scrollTop = list.scrollHeight;
});

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

function clear() {
  waiting = [];
  list.replaceChildren();
  draw();
}

function follow(following) {
  if (isFollowing === following) return;
  isFollowing = following;
  $("follow").ariaPressed = following;
  draw();
}

let timer;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(open, 250);
});
form.addEventListener("submit", (event) => event.preventDefault());
$("clear").addEventListener("click", clear);
$("follow").addEventListener("click", () => follow(!isFollowing));
$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("pause").ariaPressed = isPaused;
  draw();
});
// Whoever scrolls up reads, and is not moved; at the end the tail goes on.
list.addEventListener("scroll", () => follow(list.scrollHeight - list.scrollTop - list.clientHeight < 8));
open();
