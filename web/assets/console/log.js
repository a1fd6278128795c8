/** What happens to the stream, as entries, the newest first. */

import { $, make, write } from "./dom.js";
import { clock } from "./format.js";

const MOST = 100;

/** @param {"good"|"warn"|"bad"|"cut"|""} kind */
export function say(kind, title, text = "") {
  const lane = $("lane");
  // What repeats itself, such as a server that is not there, is one entry with the newest time.
  const newest = lane.firstElementChild;
  if (newest?.dataset.said === `${title} ${text}`) newest.remove();
  const entry = make("li", { className: kind }, make("time", {}, clock(Date.now())), make("b", {}, title));
  entry.dataset.said = `${title} ${text}`;
  if (text) entry.append(make("p", {}, text));
  lane.querySelector(".empty")?.remove();
  lane.prepend(entry);
  while (lane.childElementCount > MOST) lane.lastElementChild.remove();
  write($("newest"), [clock(Date.now()), title, text].filter(Boolean).join(" · "));
}
