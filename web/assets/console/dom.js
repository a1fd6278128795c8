/** Elements. What records contain gets into the page as text alone. */

export const $ = (id) => document.getElementById(id);

/** An element with properties (those with a dash are attributes) and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

export const span = (className, ...children) => make("span", { className }, ...children);

export function button(text, onclick, properties = {}) {
  const element = make("button", { type: "button", textContent: text, ...properties });
  element.addEventListener("click", onclick);
  return element;
}

/** Writes only what differs: what is set again is drawn, and read out, again. */
export function write(element, text) {
  if (element.textContent !== `${text}`) element.textContent = text;
}

const COPIED_MS = 1200;
const labels = new WeakMap(); // of buttons that say that they have copied

export async function copy(button, text) {
  const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (!labels.has(button)) labels.set(button, button.textContent);
  button.textContent = copied || copyBySelection(text) ? "Copied" : "Not allowed";
  setTimeout(() => (button.textContent = labels.get(button)), COPIED_MS);
}

// A browser gives the clipboard only to pages that came by https or from this machine.
function copyBySelection(text) {
  const before = document.activeElement;
  const area = make("textarea", { value: text, className: "visually-hidden" });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return copied;
}
