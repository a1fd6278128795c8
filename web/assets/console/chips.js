/** A choice of names as buttons that are on or off; others can be typed. None is on: all of them. */

import { make, span, write } from "./dom.js";

/** Buttons at most: further names are suggested where one types. */
const MOST = 40;

export class Chips {
  #group;
  #input;
  #onchange;
  #sorted;
  #buttons = new Map(); // name -> its button
  #selected = new Set();

  /** @param {{ sorted?: boolean, onchange: () => void }} options  sorted: by name, else in the order in which they come */
  constructor(group, input, { sorted = false, onchange }) {
    this.#group = group;
    this.#input = input;
    this.#sorted = sorted;
    this.#onchange = onchange;
    const take = () => this.take() && onchange();
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && input.value.trim()) {
        event.preventDefault();
        take();
      }
    });
    input.addEventListener("change", take);
  }

  /** The names that are on, with what is typed. */
  get selected() {
    return [...new Set([...this.#selected, ...this.#typed])];
  }

  set selected(names) {
    this.#selected = new Set(names);
    this.offer([...names]);
    this.#draw();
  }

  /** Adds buttons for names; none is ever taken away. */
  offer(names) {
    for (const name of names) if (!this.#buttons.has(name) && (this.#buttons.size < MOST || this.#selected.has(name))) this.#add(name);
  }

  /** Takes away what is not on. */
  forget() {
    for (const [name, chip] of this.#buttons) {
      if (this.#selected.has(name)) continue;
      chip.remove();
      this.#buttons.delete(name);
    }
  }

  /** Text beside a name. */
  note(name, text) {
    const chip = this.#buttons.get(name);
    if (chip) write(chip.lastElementChild, text);
  }

  toggle(name) {
    if (!this.#selected.delete(name)) this.#selected.add(name);
    this.offer([name]);
    this.#draw();
    this.#onchange();
  }

  /** Switches this one on, and all others off. */
  only(name) {
    this.selected = [name];
    this.#onchange();
  }

  /** Marks one of the selected as refused; undefined: none. */
  mark(name) {
    for (const [other, chip] of this.#buttons) chip.classList.toggle("refused", other === name);
  }

  get #typed() {
    return this.#input.value.split(",").map((name) => name.trim()).filter(Boolean);
  }

  /** Makes buttons of what is typed. Gives whether there was something. */
  take() {
    const names = this.#typed;
    if (!names.length) return false;
    this.#input.value = "";
    names.forEach((name) => this.#selected.add(name));
    this.offer(names);
    this.#draw();
    return true;
  }

  #add(name) {
    const chip = make("button", { type: "button", title: name }, span("name", name), span("note"));
    chip.addEventListener("click", () => this.toggle(name));
    this.#buttons.set(name, chip);
    const after = this.#sorted && [...this.#buttons].filter(([other]) => other > name).sort(([a], [b]) => (a < b ? -1 : 1))[0]?.[1];
    this.#group.insertBefore(chip, after || this.#input);
    this.#draw();
  }

  #draw() {
    for (const [name, chip] of this.#buttons) chip.setAttribute("aria-pressed", this.#selected.has(name));
  }
}
