/** An event in full. */

import { nameIt, words } from "./by-value.js";
import { button, copy, make, span } from "./dom.js";
import { duration, iso, number } from "./format.js";
import { bytesOf, plain, traceOf } from "./record.js";

/** Lines of a value that is laid out; what is longer is only text. */
const MOST_LINES = 500;
/** Bytes that are shown of a binary value. */
const MOST_BYTES = 256;

/** @param {{ filter: (of: object) => void, decode: (id: string) => void, isRunning: boolean }} on */
export function details({ record, id }, on) {
  const text = JSON.stringify(record, null, 2);
  const buttons = make("div", { className: "buttons" },
    button("Copy record", ({ target }) => copy(target, text), { className: "quiet" }),
    button("Copy value", ({ target }) => copy(target, typeof record.value === "string" ? record.value : JSON.stringify(record.value, null, 2)), { className: "quiet" }),
    button("Copy event id", ({ target }) => copy(target, id), { className: "quiet" }),
    button("Decode id", () => on.decode(id), { className: "quiet" }),
    ...(record.timestamp > 0 ? [button("Replay from here", () => on.filter({ time: record.timestamp }), { className: "quiet" })] : []));
  return make("div", { className: "record" }, make("div", { className: "facts" }, facts(record, id, on), buttons), make("div", { className: "content" }, content(record, on)));
}

function facts(record, id, on) {
  const list = make("dl");
  const add = (name, ...what) => list.append(make("dt", {}, name), make("dd", {}, ...what));
  add("Position", `${record.topic}, partition ${record.partition}, offset ${record.offset}`);
  if (record.timestamp > 0) add("Time", iso(record.timestamp));
  if (record.timestamp > 0) add("Age", age(record.timestamp));
  add("Type", record.type === undefined ? span("none", "none") : scalar(record.type, { type: record.type }, on));
  add("Key", record.key === null ? span("none", "none") : scalar(plain(record.key), { field: "key", value: record.key }, on));
  const headers = Object.entries(record.headers ?? {});
  for (const [name, value] of headers) add(make("span", {}, "Header ", make("b", {}, name)), value === null ? span("none", "null") : scalar(plain(value), { field: ["header", name], value }, on));
  if (!headers.length) add("Headers", span("none", "none"));
  const trace = traceOf(record);
  if (trace) add("Trace id", make("code", {}, trace));
  add("Event id", make("code", {}, id));
  return list;
}

/** How old it is, which is drawn anew by `renewAges`. */
function age(timestamp) {
  const element = span("age");
  element.timestamp = timestamp;
  renew(element);
  return element;
}

export const renewAges = (root) => root.querySelectorAll(".age").forEach(renew);

function renew(element) {
  const ms = Date.now() - element.timestamp;
  element.textContent = ms < 0 ? `${duration(ms)} ahead of this clock` : duration(ms);
}

function content(record, on) {
  const { value, value_kind: kind, code, field } = record;
  const title = make("p", { className: "kind" });
  if (code) title.append(`Undecodable: ${code}${field ? ` (${field})` : ""}. `);
  if (kind === "tombstone") title.append("A tombstone: the record of this key is deleted.");
  if (kind === "masked") title.append("The value is withheld.");
  if (kind === "binary") {
    const bytes = bytesOf(value?.base64 ?? "");
    title.append(`${number.format(bytes.length)} bytes that are no text.`);
    return make("div", {}, title, make("pre", {}, hexDump(bytes)));
  }
  if (kind) return make("div", {}, title);
  if (typeof value === "string") return make("div", {}, title, make("pre", {}, value));
  const text = JSON.stringify(value, null, 2);
  const pre = make("pre");
  if (text.split("\n", MOST_LINES + 1).length > MOST_LINES) pre.append(text);
  else pre.append(...lines(value, ["value"], "", on));
  return make("div", {}, title, pre);
}

/** Pretty JSON, in which what the filter can ask for is a button. */
function lines(value, path, indent, on) {
  if (typeof value !== "object" || value === null) return [scalar(JSON.stringify(value), { field: path, value }, on)];
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  if (!entries.length) return [isList ? "[]" : "{}"];
  const deeper = `${indent}  `;
  const inner = entries.flatMap(([name, one], i) => [
    `${deeper}`,
    ...(isList ? [] : [span("name", JSON.stringify(name)), ": "]),
    ...lines(one, [...path, name], deeper, on),
    i < entries.length - 1 ? ",\n" : "\n",
  ]);
  return [isList ? "[\n" : "{\n", ...inner, `${indent}${isList ? "]" : "}"}`];
}

function scalar(text, of, on) {
  const does = words(of, on.isRunning);
  if (!does) return span("scalar", text);
  const one = button(text, () => on.filter(of), { className: "scalar" });
  one.filter = of;
  nameIt(one, does.name);
  return one;
}

function hexDump(bytes) {
  const rows = [];
  for (let at = 0; at < Math.min(bytes.length, MOST_BYTES); at += 16) {
    const row = [...bytes.slice(at, Math.min(at + 16, MOST_BYTES))];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    rows.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  if (bytes.length > MOST_BYTES) rows.push("…");
  return rows.join("\n");
}
