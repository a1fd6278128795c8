/** What happened to the stream, and when: marks on the chart. */

import { SHOWN } from "./rates.js";

/** Within the time that is shown. */
const MOST = 200;

export class Timeline {
  #marks = [];

  /** @param {"start"|"cut"|"gap"|"drain"|"lost"|"back"|"status"} kind */
  add(kind, label, time = Date.now()) {
    this.#marks.push({ kind, label, time });
    if (this.#marks.length > MOST) this.#marks.shift();
  }

  /** Those of the last minutes, the oldest first. */
  shown(now) {
    while (this.#marks.length && now - this.#marks[0].time > SHOWN * 1000) this.#marks.shift();
    return this.#marks;
  }
}
