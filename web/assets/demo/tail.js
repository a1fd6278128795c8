/** The newest lines in a list, the last one in sight; they can be paused and cleared. */
import { $, eachFrame } from "./board.js";

const ROWS = 400;

export class Tail {
  #list = $("lines");
  #line;
  #waiting = []; // records that are not drawn yet
  #isPaused = false;
  #isFollowing = true;
  #draw = eachFrame(() => this.#drawWaiting());

  /** @param {(record: object) => Element} line  makes a line of a record */
  constructor(line) {
    this.#line = line;
    $("clear").addEventListener("click", () => this.clear());
    $("follow").addEventListener("click", () => this.#follow(!this.#isFollowing));
    $("pause").addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      $("pause").ariaPressed = this.#isPaused;
      this.#draw();
    });
    // Whoever scrolls up reads, and is not moved; at the end the tail goes on.
    this.#list.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#list;
      this.#follow(scrollHeight - scrollTop - clientHeight < 8);
    });
  }

  add(record) {
    this.#waiting.push(record);
    if (this.#waiting.length > ROWS) this.#waiting.shift();
    this.#draw();
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#draw();
  }

  #follow(isFollowing) {
    if (this.#isFollowing === isFollowing) return;
    this.#isFollowing = isFollowing;
    $("follow").ariaPressed = isFollowing;
    this.#draw();
  }

  #drawWaiting() {
    $("pause").textContent = this.#isPaused ? `Go on (${this.#waiting.length} new)` : "Pause";
    if (this.#isPaused) return;
    this.#list.append(...this.#waiting.splice(0).map(this.#line));
    while (this.#list.childElementCount > ROWS) this.#list.firstElementChild.remove();
    $("empty").hidden = this.#list.childElementCount > 0;
    if (this.#isFollowing) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
