/** The columns of the table: those that every record has, and fields of values that were found in the data. */

import { span } from "./dom.js";
import { moment } from "./format.js";
import { brief, fieldAt, fieldsOf, isBinary, isObject, plain, preview } from "./record.js";

export const USUAL = ["time", "position", "type", "key", "value"];
/** Fields that are offered. */
const MOST_FIELDS = 60;
/** Of a value that is shown in a line. */
const LONGEST = 400;
const MOST_PAIRS = 12;

const KINDS = { tombstone: "tombstone", binary: "binary", masked: "withheld" };

/** name -> { title, width, fill(cell, row) } */
const OWN = {
  time: { title: "Time", width: "7.4rem", fill: (cell, { record }) => record.timestamp > 0 && mark(cell, moment(record.timestamp), { time: record.timestamp }) },
  position: {
    title: "Topic, partition, offset",
    width: "minmax(6rem, 13rem)",
    fill(cell, { record, slot }) {
      const name = mark(span("topic"), record.topic, { topic: record.topic });
      cell.append(span(`dot topic-${slot}`), name, span("place", ` ${record.partition} @ ${record.offset}`));
      cell.title = `${record.topic}, partition ${record.partition}, offset ${record.offset}`;
    },
  },
  type: {
    title: "Type",
    width: "minmax(4rem, 9.5rem)",
    fill: (cell, { record }) => (record.type === undefined ? cell.append(span("none", "message")) : mark(cell, record.type, { type: record.type })),
  },
  key: { title: "Key", width: "minmax(3rem, 9rem)", fill: (cell, { record }) => record.key != null && mark(cell, plain(record.key).slice(0, LONGEST), { field: "key", value: record.key }) },
  headers: {
    title: "Headers",
    width: "minmax(0, 1.2fr)",
    fill: (cell, { record }) => pairs(cell, Object.entries(record.headers ?? {}).map(([name, value]) => ({ name, text: value === null ? "null" : plain(value), of: { field: ["header", name], value } }))),
  },
  value: { title: "Value", width: "minmax(0, 3fr)", fill: fillValue },
};

/** What is known of a column; its name is a path with dots where it is a field's. */
export function columnOf(name) {
  if (Object.hasOwn(OWN, name)) return { name, ...OWN[name] };
  const path = pathOf(name);
  return {
    name,
    title: path.join("."),
    width: "minmax(3rem, 1fr)",
    fill(cell, { record }) {
      const value = fieldAt(record.value, path);
      if (value !== undefined) mark(cell, brief(value).slice(0, LONGEST), { field: ["value", ...path], value });
    },
  };
}

/** Whether an address may name it. */
export const isColumn = (name) => Object.hasOwn(OWN, name) || /^value\..|^value\/./.test(name);

export const ownColumns = () => Object.keys(OWN);

/** The fields that were found in the data, as names of columns. */
export class FoundFields {
  names = [];
  #known = new Set();

  /** Whether there were new ones. */
  look(value) {
    if (!isObject(value) || isBinary(value) || this.names.length >= MOST_FIELDS) return false;
    const before = this.names.length;
    for (const { path } of fieldsOf(value)) {
      const name = columnName(path);
      if (this.#known.has(name) || this.names.length >= MOST_FIELDS) continue;
      this.#known.add(name);
      this.names.push(name);
    }
    return this.names.length > before;
  }
}

const columnName = (path) =>
  path.every((name) => name && !/[./]/.test(name)) ? `value.${path.join(".")}` : `value/${path.map((name) => name.replaceAll("~", "~0").replaceAll("/", "~1")).join("/")}`;

function pathOf(name) {
  const rest = name.slice("value.".length);
  if (name[5] !== "/") return rest.split(".");
  return rest.split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function fillValue(cell, { record }) {
  const { value, value_kind: kind, code } = record;
  if (code) cell.append(span("kind", `undecodable: ${code}`));
  else if (kind) cell.append(span("kind", KINDS[kind] ?? kind));
  if (kind === "tombstone" || kind === "masked") return;
  if (isObject(value) && !kind) {
    return pairs(cell, preview(value).map(({ path, value }) => ({ name: path.join("."), text: brief(value), of: { field: ["value", ...path], value } })));
  }
  const text = kind === "binary" ? value?.base64 ?? "" : Array.isArray(value) ? JSON.stringify(value) : String(value);
  if (kind || typeof value === "object") cell.append(text.slice(0, LONGEST));
  else mark(cell, text.slice(0, LONGEST), { field: ["value"], value });
}

function pairs(cell, all) {
  let length = 0;
  for (const { name, text, of } of all.slice(0, MOST_PAIRS)) {
    if (length > LONGEST) return;
    length += name.length + text.length;
    cell.append(mark(span("pair"), "", of, span("name", name), ` ${text.slice(0, LONGEST)}`));
  }
}

/** What the filter can ask for, kept with the element that shows it. */
function mark(element, text, of, ...more) {
  element.append(...(text === "" && more.length ? [] : [`${text}`]), ...more);
  element.filter = of;
  element.classList.add("filterable");
  return element;
}
