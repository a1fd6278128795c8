/** What a record says, as text: a preview in a line, its fields, its trace. */

/** Fields that tell most, in this order; any other comes after them, as it was produced. */
const TELLING = ["id", "name", "title", "state", "status", "level", "event", "action", "message", "text", "total", "amount", "value", "price", "count"];
/** Fields that are the same in every record say nothing. */
const SILENT = ["currency", "version", "schema", "schema_version", "specversion"];
/** How much of a value is looked at: deep in it, and on the whole. */
const DEEP = 3;
const MOST_FIELDS = 60;

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isScalar = (value) => typeof value !== "object" || value === null;

/** Text of a key or a header, or of a value that is not JSON. */
export function plain(value) {
  if (typeof value === "string") return value;
  return isBinary(value) ? `${value.base64} (base64)` : JSON.stringify(value) ?? "";
}

export const isBinary = (value) => isObject(value) && typeof value.base64 === "string" && Object.keys(value).length === 1;

/** The fields of a value, as paths of names with what they hold: scalars, and arrays and objects that are looked at no further. */
export function fieldsOf(value, path = [], found = []) {
  if (found.length >= MOST_FIELDS) return found;
  if (!isObject(value) || path.length >= DEEP) {
    found.push({ path, value });
    return found;
  }
  for (const [name, inner] of Object.entries(value)) fieldsOf(inner, [...path, name], found);
  return found;
}

/** The field at a path; undefined without one. */
export const fieldAt = (value, path) => path.reduce((at, name) => (at !== null && typeof at === "object" && Object.hasOwn(at, name) ? at[name] : undefined), value);

/** The fields of an object, the telling ones first. */
export function preview(value) {
  const rank = ({ path }) => {
    const name = path.at(-1)?.toLowerCase() ?? "";
    const told = TELLING.indexOf(name);
    if (SILENT.includes(name)) return 200;
    if (told >= 0) return told + 50 * (path.length - 1);
    return (/(^|[_.-])id$/.test(name) || /[a-z]Id$/.test(path.at(-1)) ? 40 : 60) + 50 * (path.length - 1);
  };
  return fieldsOf(value)
    .map((field, i) => ({ ...field, rank: rank(field), i }))
    .sort((a, b) => a.rank - b.rank || a.i - b.i);
}

/** A value within a line. */
export function brief(value) {
  if (Array.isArray(value)) return value.every(isScalar) && value.length <= 4 ? `[${value.map(brief).join(", ")}]` : `[${value.length}]`;
  if (isObject(value)) return `{${Object.keys(value).length}}`;
  return String(value);
}

/** The trace that a record belongs to: by W3C's header, else by a field. "" without. */
export function traceOf({ headers, value }) {
  const parent = headers?.traceparent;
  const traced = typeof parent === "string" && /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(parent);
  if (traced) return traced[1];
  const field = isObject(value) && [value.trace_id, value.traceId, value.trace].find((trace) => typeof trace === "string");
  return field || "";
}

/** The bytes behind base64. */
export function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
