/** The conditions of the filter: each is a button that brings it back to the field, with one beside it that takes it away. */

import { button, span } from "./dom.js";

export class Conditions {
  #box;
  #input;
  #onchange;
  #list = [];

  constructor(box, input, onchange) {
    this.#box = box;
    this.#input = input;
    this.#onchange = onchange;
    box.addEventListener("click", (event) => event.target === box && input.focus());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("change", () => this.take() && onchange());
    input.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text") ?? "";
      if (!text.includes("\n")) return;
      event.preventDefault();
      this.list = [...this.#list, ...text.split("\n").map((line) => line.trim()).filter(Boolean)];
      onchange();
    });
  }

  /** All of them, with what is typed. */
  get list() {
    const typed = this.#input.value.trim();
    return [...new Set([...this.#list, ...(typed ? [typed] : [])])];
  }

  set list(conditions) {
    this.#list = [...new Set(conditions)];
    this.#draw();
  }

  add(condition) {
    this.list = [...this.#list, condition];
    this.#onchange();
  }

  /** Marks the one that the server refused, by its number from 0; undefined: none. */
  mark(index) {
    [...this.#box.querySelectorAll(".token")].forEach((token, i) => token.classList.toggle("refused", i === index));
  }

  /** Makes a condition of what is typed. Gives whether there was something. */
  take() {
    const text = this.#input.value.trim();
    if (!text) return false;
    this.#input.value = "";
    if (!this.#list.includes(text)) this.#list.push(text);
    this.#draw();
    return true;
  }

  #key(event) {
    if (event.key === "Enter" && this.#input.value.trim()) {
      event.preventDefault();
      if (this.take()) this.#onchange();
    } else if (event.key === "Backspace" && !this.#input.value && this.#list.length) {
      event.preventDefault();
      this.#edit(this.#list.length - 1);
    }
  }

  #edit(index) {
    this.take();
    const [condition] = this.#list.splice(index, 1);
    this.#draw();
    this.#input.value = condition;
    this.#input.focus();
  }

  #remove(index) {
    this.#list.splice(index, 1);
    this.#draw();
    this.#input.focus();
    this.#onchange();
  }

  #draw() {
    this.#box.querySelectorAll(".token").forEach((token) => token.remove());
    const tokens = this.#list.map((condition, index) =>
      span("token",
        button(condition, () => this.#edit(index), { className: "text", title: condition, "aria-label": `Edit the condition ${condition}` }),
        button("×", () => this.#remove(index), { className: "remove", "aria-label": `Remove the condition ${condition}` })));
    this.#input.before(...tokens);
    this.#input.placeholder = tokens.length ? "and …" : "value.total>100";
  }
}
