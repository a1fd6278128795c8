/** The tabs with code, and the button that copies it. */

import { $, copy, make, write } from "./dom.js";
import { SNIPPETS } from "./snippets.js";
import { tabs } from "./tabs.js";

export class Code {
  #language = "curl";
  #choice = null;
  #asksForToken = false;

  constructor() {
    $("languages").append(...Object.keys(SNIPPETS).map((name, i) =>
      make("button", { type: "button", role: "tab", textContent: name, tabIndex: i ? -1 : 0, "aria-selected": i === 0, "aria-controls": "code" })));
    tabs($("languages"), (tab) => {
      this.#language = tab.textContent;
      this.#draw();
    });
    $("copy-code").addEventListener("click", ({ target }) => copy(target, $("code").textContent));
  }

  of(choice, asksForToken) {
    this.#choice = choice;
    this.#asksForToken = asksForToken;
    this.#draw();
  }

  #draw() {
    write($("code"), SNIPPETS[this.#language](this.#choice, this.#asksForToken));
  }
}
