/** The drawer at the bottom: the log, the decoder of ids, code. */

import { $ } from "./dom.js";
import { tabs } from "./tabs.js";

export class Drawer {
  #select;

  /** @param {() => void} onshow  a panel is to be seen, or another one */
  constructor(onshow) {
    this.onshow = onshow;
    this.#select = tabs($("tabs"), (tab) => {
      for (const panel of $("panels").children) panel.hidden = panel.id !== tab.getAttribute("aria-controls");
      this.open();
    });
    $("drawer-toggle").addEventListener("click", () => ($("panels").hidden ? this.open() : this.close()));
    $("drawer").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || $("panels").hidden) return;
      this.close();
      $("drawer-toggle").focus();
    });
  }

  /** @param {"log"|"id"|"code"} name */
  show(name) {
    this.#select($(`tab-${name}`));
    $(`tab-${name}`).focus();
  }

  open() {
    this.#set(true);
  }

  close() {
    this.#set(false);
  }

  #set(isOpen) {
    $("panels").hidden = !isOpen;
    $("drawer-toggle").setAttribute("aria-expanded", isOpen);
    $("drawer-toggle").textContent = isOpen ? "Close" : "Open";
    document.documentElement.classList.toggle("drawer-open", isOpen);
    if (isOpen) this.onshow();
  }
}
