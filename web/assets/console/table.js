/** The newest events, a row each: searched, filtered by a value, opened. */

import { nameIt, words } from "./by-value.js";
import { columnOf, FoundFields, isColumn, ownColumns, USUAL } from "./columns.js";
import { conditionFor } from "./condition.js";
import { details } from "./details.js";
import { $, button, make, span, write } from "./dom.js";
import { number } from "./format.js";

/** Events in the page, whatever the rate. */
const ROWS = 200;
/** So many at once come without a sign of each. */
const BUSY = 20;
/** Drawing takes at most this share of the time. */
const SHARE = 1 / 4;
/** But the newest are never older than this, however busy the machine is. */
const LONGEST_REST_MS = 1000;

export class Table {
  #on;
  #rows = []; // the newest first: { record, id, slot, node }
  #waiting = []; // records that came since the last drawing
  #isPaused = false;
  #missed = 0;
  #columns = USUAL.map(columnOf);
  #fields = new FoundFields();
  #search = "";
  #restUntil = 0;
  #filterButton;
  #isRunning = false;

  /**
   * @param {object} on  condition(text), topic(name), type(name), time(ms): filter by this value;
   *                     changed(): the columns or the search are different; decode(id)
   */
  constructor(on) {
    this.#on = on;
    this.#filterButton = button("Filter", () => this.#filterBy(this.#filterButton.parentElement?.filter), { className: "by-value", tabIndex: -1 });
    $("pause").addEventListener("click", () => this.#pause());
    $("clear").addEventListener("click", () => this.#clear());
    $("search").addEventListener("input", () => this.#searched());
    $("list").addEventListener("click", (event) => this.#clicked(event));
    $("list").addEventListener("keydown", (event) => this.#key(event));
    $("list").addEventListener("pointerover", (event) => this.#hover(event));
    $("list").addEventListener("pointerleave", () => this.#filterButton.remove());
    this.#closePicker();
    this.#drawTitles();
    this.#drawPicker();
  }

  get search() {
    return this.#search;
  }

  set search(text) {
    $("search").value = text;
    this.#search = text.toLowerCase();
    this.#drawSearch();
  }

  /** The names of the columns; null for the usual ones. */
  get columns() {
    const names = this.#columns.map(({ name }) => name);
    return names.join("\n") === USUAL.join("\n") ? null : names;
  }

  set columns(names) {
    const known = (names ?? USUAL).filter(isColumn);
    this.#columns = (known.length ? known : USUAL).map(columnOf);
    this.#redraw();
  }

  /** Whether there is a stream, which a filter starts again: what the buttons of values do is another thing then. */
  set isRunning(isRunning) {
    if (this.#isRunning === isRunning) return;
    this.#isRunning = isRunning;
    for (const scalar of $("list").querySelectorAll("button.scalar")) nameIt(scalar, words(scalar.filter, isRunning).name);
    if (this.#filterButton.isConnected) this.#nameFilter(this.#filterButton.parentElement.filter);
  }

  /** A record came; it is drawn with others. */
  add(record, id, slot) {
    if (this.#isPaused) this.#missed++;
    this.#waiting.push({ record, id, slot });
    if (this.#waiting.length > ROWS) this.#waiting.shift();
  }

  draw(now = performance.now()) {
    if (this.#waiting.length && !this.#isPaused && now >= this.#restUntil) {
      this.#restUntil = Infinity;
      this.#drawRows(this.#waiting.splice(0).reverse());
      // With the layout, which comes after this.
      setTimeout(() => (this.#restUntil = performance.now() + Math.min((performance.now() - now) / SHARE, LONGEST_REST_MS)));
    }
    write($("pause"), this.#isPaused ? (this.#missed ? `Go on (${number.format(this.#missed)} new)` : "Go on") : "Pause");
  }

  /** Another stream starts. What it brings is shown, though the one before was paused. */
  begin() {
    if (this.#isPaused) this.#pause();
    this.#clear();
  }

  #clear() {
    this.#waiting = [];
    this.#missed = 0;
    this.#rows = [];
    $("list").replaceChildren();
    if (this.#isPaused) this.say("Paused", "Go on shows what comes meanwhile.");
    else this.say("Listening", "Events appear here as they arrive, newest first.");
    this.#drawSearch();
  }

  /** In place of the events, while there are none. */
  say(title, text) {
    $("empty").querySelector("strong").textContent = title;
    $("empty-text").textContent = text;
    this.#drawEmpty();
  }

  // ------------------------------------------------------------- rows

  #drawRows(fresh) {
    const list = $("list");
    list.hidden = false;
    list.classList.toggle("busy", fresh.length > BUSY);
    const anchor = this.#anchor();
    const top = anchor?.offsetTop;
    if (fresh.map(({ record }) => this.#fields.look(record.value)).includes(true)) this.#drawPicker();
    for (const row of fresh) row.node = this.#row(row);
    this.#rows.unshift(...fresh);
    list.prepend(...fresh.map(({ node }) => node));
    this.#evict();
    // Whoever reads a record, or further down, is not pushed away.
    if (anchor?.isConnected) list.scrollTop += anchor.offsetTop - top;
    this.#drawSearch();
    this.#rove();
  }

  /** The row that stays where it is on the screen. */
  #anchor() {
    const list = $("list");
    const held = this.#rows.find(({ node }) => isHeld(node) && isWithin(node, list));
    if (held) return held.node;
    if (list.scrollTop === 0) return null;
    return this.#rows.find(({ node }) => node.offsetTop + node.offsetHeight > list.scrollTop)?.node;
  }

  // The oldest go first; what is read stays, as long as there is room.
  #evict() {
    for (let i = this.#rows.length - 1; this.#rows.length > ROWS && i >= 0; i--) {
      if (isHeld(this.#rows[i].node)) continue;
      this.#rows[i].node.remove();
      this.#rows.splice(i, 1);
    }
    for (const { node } of this.#rows.splice(ROWS)) node.remove();
  }

  #row(row) {
    const { topic, partition, offset } = row.record;
    const toggle = make("button", { type: "button", className: "toggle", tabIndex: -1, "aria-expanded": false, "aria-label": `Event ${topic} ${partition} @ ${offset}` });
    const cells = this.#columns.map((column, i) => {
      const cell = make("div", { className: `cell ${column.name.startsWith("value.") || column.name.startsWith("value/") ? "field" : column.name}`, role: "cell" });
      if (i === 0) cell.append(toggle);
      column.fill(cell, row);
      if (!cell.title) cell.title = cell.textContent.slice(0, 400);
      return cell;
    });
    const node = make("div", { className: "event", role: "presentation" }, make("div", { className: "row", role: "row" }, ...cells));
    node.row = row;
    return node;
  }

  #toggle(node) {
    const isOpen = node.classList.toggle("open");
    node.querySelector(".toggle").setAttribute("aria-expanded", isOpen);
    if (!isOpen) return node.querySelector(".details").remove();
    // The whole record is laid out only for whoever asks for it.
    const cell = make("div", { role: "cell", className: "cell" }, details(node.row, { filter: (of) => this.#filterBy(of), decode: this.#on.decode, isRunning: this.#isRunning }));
    node.append(make("div", { className: "details", role: "row" }, cell));
  }

  #clicked(event) {
    const node = event.target.closest(".event");
    if (!node || event.target.closest(".details")) return;
    if (event.target.closest("button:not(.toggle)") || getSelection()?.toString()) return;
    this.#rove(node);
    this.#toggle(node);
  }

  // One row is reached by Tab, the others by arrows.
  #key(event) {
    if (!event.target.classList.contains("toggle")) {
      if (event.key === "Escape" && event.target.closest(".details")) {
        const node = event.target.closest(".event");
        node.querySelector(".toggle").focus();
        this.#toggle(node);
      }
      return;
    }
    const shown = this.#rows.filter(({ node }) => !node.hidden).map(({ node }) => node);
    const at = shown.indexOf(event.target.closest(".event"));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1, PageDown: Math.min(at + 10, shown.length - 1), PageUp: Math.max(at - 10, 0) }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (!shown[to]) return;
    this.#rove(shown[to]);
    shown[to].querySelector(".toggle").focus();
  }

  #rove(node) {
    const now = node ?? this.#rows.find(({ node }) => node.querySelector(".toggle").tabIndex === 0 && !node.hidden)?.node ?? this.#rows.find(({ node }) => !node.hidden)?.node;
    for (const row of this.#rows) row.node.querySelector(".toggle").tabIndex = row.node === now ? 0 : -1;
  }

  // ------------------------------------------------------------- filter by a value

  #hover({ target }) {
    const place = target.closest(".filterable");
    if (!place || place.contains(this.#filterButton)) return;
    if (words(place.filter, this.#isRunning) === null) return this.#filterButton.remove();
    this.#nameFilter(place.filter);
    place.append(this.#filterButton);
  }

  #nameFilter(of) {
    const { label, name } = words(of, this.#isRunning);
    this.#filterButton.textContent = label;
    nameIt(this.#filterButton, name);
  }

  #filterBy(of) {
    if (!of) return;
    this.#filterButton.remove();
    if (of.topic !== undefined) return this.#on.topic(of.topic);
    if (of.type !== undefined) return this.#on.type(of.type);
    if (of.time !== undefined) return this.#on.time(of.time);
    const condition = conditionFor(of.field, of.value);
    if (condition !== null) this.#on.condition(condition);
  }

  // ------------------------------------------------------------- search, pause

  #searched() {
    this.#search = $("search").value.trim().toLowerCase();
    this.#drawSearch();
    this.#rove();
    this.#on.changed();
  }

  #drawSearch() {
    let found = 0;
    for (const row of this.#rows) {
      const isFound = !this.#search || (row.text ??= textOf(row.record)).includes(this.#search);
      if (row.node.hidden === isFound) row.node.hidden = !isFound;
      found += isFound;
    }
    write($("found"), this.#search ? `${found} of ${this.#rows.length}` : "");
    this.#drawEmpty();
  }

  #drawEmpty() {
    $("empty").hidden = this.#rows.length > 0;
    $("list").hidden = this.#rows.length === 0;
  }

  #pause() {
    this.#isPaused = !this.#isPaused;
    this.#missed = 0;
    $("pause").setAttribute("aria-pressed", this.#isPaused);
    this.draw();
  }

  // ------------------------------------------------------------- columns

  #drawTitles() {
    $("table").style.setProperty("--columns", this.#columns.map(({ width }) => width).join(" "));
    $("titles").replaceChildren(...this.#columns.map(({ title, name }) => make("div", { className: `cell ${name}`, role: "columnheader", title }, title)));
  }

  #redraw() {
    this.#drawTitles();
    this.#drawPicker();
    for (const row of this.#rows) row.node = this.#row(row);
    $("list").replaceChildren(...this.#rows.map(({ node }) => node));
    this.#drawSearch();
    this.#rove();
  }

  #drawPicker() {
    const chosen = this.#columns.map(({ name }) => name);
    const names = [...new Set([...ownColumns(), ...chosen, ...this.#fields.names])];
    const known = [...$("columns").querySelectorAll("input")].map(({ value }) => value);
    if (known.join("\n") !== names.join("\n")) {
      const focused = document.activeElement?.closest?.("#columns") && document.activeElement.value;
      $("columns").replaceChildren(...names.map((name) => this.#choice(name)));
      if (focused) [...$("columns").querySelectorAll("input")].find(({ value }) => value === focused)?.focus();
    }
    for (const box of $("columns").querySelectorAll("input")) box.checked = chosen.includes(box.value);
  }

  #choice(name) {
    const box = make("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => this.#choose());
    return make("label", { title: name }, box, span("", Object.hasOwn(TITLES, name) ? TITLES[name] : name));
  }

  // Those that every record has are in their order, with the fields before the value.
  #choose() {
    const chosen = [...$("columns").querySelectorAll("input:checked")].map(({ value }) => value);
    const fields = chosen.filter((name) => !ownColumns().includes(name));
    const own = ownColumns().filter((name) => chosen.includes(name));
    const before = own.filter((name) => name !== "value");
    this.columns = [...before, ...fields, ...own.filter((name) => name === "value")];
    this.#on.changed();
  }

  #closePicker() {
    const picker = $("picker");
    addEventListener("pointerdown", (event) => picker.open && !picker.contains(event.target) && (picker.open = false));
    picker.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !picker.open) return;
      picker.open = false;
      picker.querySelector("summary").focus();
    });
  }
}

const TITLES = { time: "Time", position: "Topic, partition, offset", type: "Type", key: "Key", headers: "Headers", value: "Value" };

const isHeld = (node) => node.classList.contains("open") || node.contains(document.activeElement);

const isWithin = (node, list) => node.offsetTop < list.scrollTop + list.clientHeight && node.offsetTop + node.offsetHeight > list.scrollTop;

const textOf = (record) => JSON.stringify(record).toLowerCase();
