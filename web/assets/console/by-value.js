/** What a click on a value does, in words. */

import { conditionFor } from "./condition.js";

/**
 * The label of a button beside the value, and its name in full; null for a value that cannot be asked for.
 *
 * @param {object} of  topic, type, time, or field and value
 * @param {boolean} isRunning  whether there is a stream, which starts again at once
 */
export function words(of, isRunning) {
  if (of.time !== undefined) return { label: "Replay", name: "Replay from this time" };
  const what = wanted(of);
  if (what === null) return null;
  return isRunning
    ? { label: "Only this", name: `Only this: start again with ${what}` }
    : { label: "Filter", name: `Filter: ask for ${what} at the next start` };
}

function wanted({ topic, type, field, value }) {
  if (topic !== undefined) return `the topic ${topic} alone`;
  if (type !== undefined) return `the type ${type} alone`;
  const condition = conditionFor(field, value);
  return condition && `the condition ${condition}`;
}

/** Gives a button its name, for the pointer and for a screen reader. */
export function nameIt(button, name) {
  button.title = name;
  button.setAttribute("aria-label", name);
}
