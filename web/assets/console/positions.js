/** Where the stream is in each partition, as a bar between the begin and the end that Kafka has. */

import { decodeId } from "../event-id.js";
import { $, make, span, write } from "./dom.js";
import { number, short } from "./format.js";

export class Positions {
  #names;
  #ends = new Map(); // topic -> its partitions: { begin, end }
  #drawn = new Map(); // "topic/partition" -> its elements
  #shape = "";

  /** @param {TopicNames} names */
  constructor(names) {
    this.#names = names;
  }

  /** What the server said of the topics. */
  learn(topics) {
    this.#ends = new Map(topics.map(({ topic, partitions }) => [topic, new Map(partitions.map((one) => [one.partition, one]))]));
  }

  draw(id) {
    if (!id) return;
    let parts;
    try {
      ({ parts } = decodeId(id));
    } catch (error) {
      return this.#say(error.code === "sealed" ? "Ids are sealed: they do not show positions." : error.message);
    }
    const named = parts.map((part) => ({ ...part, topic: this.#names.of(part.name) ?? `topic ${part.name}` })).sort((a, b) => (a.topic < b.topic ? -1 : 1));
    const shape = named.map(({ topic, name, offsets }) => `${topic}:${name}:${offsets.length}`).join("\n");
    if (shape !== this.#shape) this.#lay(named, shape);
    let behind = 0;
    for (const [i, { topic, offsets }] of named.entries()) behind += this.#move(i, topic, offsets);
    write($("behind"), this.#ends.size ? (behind ? `behind by ${number.format(behind)}` : "at the end") : "");
  }

  #say(text) {
    if (this.#shape === text) return;
    this.#shape = text;
    this.#drawn.clear();
    write($("behind"), "");
    $("positions").replaceChildren(make("p", { className: "empty" }, text));
  }

  #lay(parts, shape) {
    this.#shape = shape;
    this.#drawn.clear();
    $("positions").replaceChildren(...parts.map(({ topic, offsets }, i) => {
      const note = span("note");
      this.#drawn.set(`${i}`, note);
      const partitions = offsets.map((_, partition) => {
        const fill = make("i");
        const text = span("behind");
        const bar = make("span", { className: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": 0, "aria-label": `${topic}, partition ${partition}` }, fill);
        const node = make("div", { className: "partition" }, span("number", `${partition}`), bar, text);
        this.#drawn.set(`${i}/${partition}`, { node, bar, fill, text });
        return node;
      });
      return make("div", { className: "topic" }, make("div", { className: "title" }, span("name", topic), note), make("div", { className: "partitions" }, ...partitions));
    }));
  }

  // Gives how far the topic is behind.
  #move(i, topic, offsets) {
    let sum = 0;
    let isKnown = false;
    offsets.forEach((offset, partition) => {
      const { begin, end } = this.#ends.get(topic)?.get(partition) ?? {};
      const drawn = this.#drawn.get(`${i}/${partition}`);
      const { node, bar, fill, text } = drawn;
      const next = Math.max(offset, begin ?? 0);
      isKnown ||= end !== undefined;
      const behind = end === undefined || offset < 0 ? 0 : Math.max(0, end - next);
      sum += behind;
      const place = `${offset} ${begin} ${end}`;
      if (drawn.place === place) return;
      drawn.place = place;
      // Of a stream that is ahead of what the server said a moment ago, the bar is full.
      const share = end === undefined ? 0 : end <= begin ? 1 : Math.min(1, (next - begin) / (end - begin));
      fill.style.width = `${(share * 100).toFixed(1)}%`;
      node.classList.toggle("late", behind > 0);
      write(text, offset < 0 ? "?" : end === undefined ? number.format(offset) : behind ? `−${short.format(behind)}` : number.format(next));
      const said = offset < 0 ? "not known yet" : end === undefined ? `next offset ${offset}` : `next offset ${offset}, of ${begin} to ${end}: ${behind ? `behind by ${number.format(behind)}` : "at the end"}`;
      bar.setAttribute("aria-valuemin", begin ?? 0);
      bar.setAttribute("aria-valuemax", Math.max(end ?? offset, begin ?? 0));
      bar.setAttribute("aria-valuenow", Math.min(next, end ?? next));
      bar.setAttribute("aria-valuetext", said);
      node.title = `Partition ${partition}: ${said}`;
    });
    write(this.#drawn.get(`${i}`), isKnown ? (sum ? `behind by ${number.format(sum)}` : "at the end") : "");
    return sum;
  }
}
