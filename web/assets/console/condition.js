/** A condition of the filter that a record with this value meets. */

/** Longer values are not asked for. */
const LONGEST = 300;
/** What stands for itself in a path with dots; other names are written as a JSON pointer. */
const SIMPLE = /^[\w$@-]+$/;
/** What a field's name cannot have in a condition. */
const OPERATORS = /[=!<>^?|(),"'\\\s\p{Cc}]/u;

/**
 * `field`: "key", "type", ["header", name] or ["value", name, …]. null where there is no such condition: of objects and arrays, of
 * what has line ends, and of names with operators.
 */
export function conditionFor(field, value) {
  const name = nameOf(field);
  if (name === null || value === undefined) return null;
  if (value === null) return field === "key" ? null : `!${name}?`;
  if (typeof value === "object") return null;
  // What JavaScript has rounded is another number.
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return null;
  const text = String(value);
  if (text === "" || /^[^\S ]|[^\S ]$/.test(text) || text.length > LONGEST || /\p{Cc}/u.test(text)) return null;
  return `${name}=${escape(text)}`;
}

/** The name of a field within a value, as the filter writes it. */
export const valueField = (path) => nameOf(["value", ...path]);

function nameOf(field) {
  if (typeof field === "string") return field;
  const [kind, ...names] = field;
  if (names.some((name) => name === "" || OPERATORS.test(name))) return null;
  if (kind === "header") return `header.${names[0]}`;
  if (names.every((name) => SIMPLE.test(name))) return [kind, ...names].join(".");
  return [kind, ...names.map((name) => name.replaceAll("~", "~0").replaceAll("/", "~1"))].join("/");
}

// As bridge/src/record/operand.rs reads it: what would mean something else has a backslash before it.
function escape(text) {
  return text
    .replace(/[,\\=<>"'~|()]/g, "\\$&")
    .replace(/^ | $/g, "\\ ")
    .replace(/ (?=(and|or|&&|\|\|)$)/i, "\\ ");
}
