/** Shows what an event id says: one that is pasted, else the newest of the stream. */

import { decodeId } from "../event-id.js";
import { $, copy, make, span } from "./dom.js";
import { clock, iso, number } from "./format.js";

export class Decoder {
  #names;
  #newest = "";
  #shown = null;

  /** @param {TopicNames} names */
  constructor(names) {
    this.#names = names;
    $("paste").addEventListener("input", () => this.draw());
    $("copy-id").addEventListener("click", ({ target }) => copy(target, this.#id));
    $("newest-id").addEventListener("click", () => this.show(""));
    this.draw();
  }

  /** Shows this id; "": the newest of the stream, as it changes. */
  show(id) {
    $("paste").value = id;
    this.draw();
  }

  set newest(id) {
    if (!id || id === this.#newest) return;
    this.#newest = id;
    if (!$("panels").hidden && !$("panel-id").hidden) this.draw();
  }

  /** Names of topics are known that were not before. */
  renamed() {
    this.#shown = null;
    this.draw();
  }

  get #id() {
    return $("paste").value.trim() || this.#newest;
  }

  draw() {
    const id = this.#id;
    if (id === this.#shown) return;
    this.#shown = id;
    $("copy-id").disabled = !id;
    $("decoded").replaceChildren(...this.#say(id));
  }

  #say(id) {
    if (!id) return [make("p", { className: "facts" }, "The id of every event has the next offset of each partition. Any replica can resume from it.")];
    const isPasted = $("paste").value.trim() !== "";
    const raw = isPasted ? [] : [make("code", { className: "raw" }, id)];
    let decoded;
    try {
      decoded = decodeId(id);
    } catch (error) {
      return [...raw, make("p", { className: "refused", role: "status" }, error.message)];
    }
    const { parts, bounds, refreshed, version, length } = decoded;
    const count = parts.reduce((sum, { offsets }) => sum + offsets.length, 0);
    const facts = `Version ${version}, ${number.format(length)} characters, ${number.format(count)} partition${count === 1 ? "" : "s"}. Topics as of ${clock(refreshed).slice(0, 5)}.`;
    const time = make("p", { className: "facts", title: iso(refreshed) }, facts);
    return [...raw, time, ...parts.map((part) => this.#topic(part)), ...bounds.map((part) => this.#topic(part, "up to where only the newest record of each key comes"))];
  }

  #topic({ name, incarnation, offsets }, note = "") {
    const title = span("name", this.#names.of(name) ?? `topic ${name}`);
    const facts = [note, incarnation === "000000" ? "" : `id ${incarnation}…`].filter(Boolean).join(", ");
    const chips = offsets.map((offset, partition) => span("offset", make("i", {}, `${partition}`), offset < 0 ? "?" : `${offset}`));
    return make("div", { className: "topic" }, make("div", { className: "title" }, title, span("note", facts)), make("div", { className: "offsets" }, ...chips));
  }
}
