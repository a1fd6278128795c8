/** A gauge on a card: its value in large, and the line of its last minutes, by uPlot (github.com/leeoniya/uPlot). */
import { clock, disconnects, element } from "./board.js";

const { uPlot } = globalThis; // a script of the page
/** Values a little older than what is in sight, so that the line begins at the edge. */
const MARGIN_SECONDS = 30;

export class Chart {
  #times = [];
  #values = [];
  #seconds;
  #card;
  #now = element("strong", { textContent: "–" });
  #when = element("span", { className: "when", textContent: "now" });
  #plot = element("div", { className: "plot", ariaHidden: "true" });
  #uplot;
  #resized;

  constructor(place, { name, title, unit, seconds }) {
    this.#seconds = seconds;
    const header = element("header", {}, element("h2", { textContent: title }), this.#when);
    const value = element("p", { className: "now" }, this.#now, ` ${unit}`);
    this.#card = element("article", { className: "gauge card", id: name }, header, value, this.#plot);
    place.append(this.#card);
    this.#uplot = new uPlot(this.#options(), [[], []], this.#plot);
    this.#resized = new ResizeObserver(() => this.#uplot.setSize(this.#size()));
    this.#resized.observe(this.#plot);
  }

  /** @param {number} time  in seconds, not before the last one */
  add(time, value) {
    this.#times.push(time);
    this.#values.push(value);
    while (this.#times[0] < time - this.#seconds - MARGIN_SECONDS) {
      this.#times.shift();
      this.#values.shift();
    }
    this.#card.classList.add("known");
  }

  draw() {
    const pointed = this.#uplot.cursor.idx; // what is under the pointer, in this chart or in another one
    const shown = this.#values[pointed ?? this.#values.length - 1];
    this.#now.textContent = shown?.toLocaleString("en", { minimumFractionDigits: 1 }) ?? "–";
    this.#when.textContent = this.#times[pointed] ? clock(this.#times[pointed] * 1000) : "now";
    this.#uplot.setData([this.#times, this.#values]);
  }

  remove() {
    this.#resized.disconnect();
    this.#uplot.destroy();
    this.#card.remove();
  }

  #size() {
    return { width: this.#plot.clientWidth, height: this.#plot.clientHeight };
  }

  #options() {
    const axis = {
      stroke: () => colour("--faint"),
      grid: { stroke: () => colour("--line"), width: 1 },
      ticks: { show: false },
      font: "11px ui-sans-serif, system-ui, sans-serif",
    };
    const line = { stroke: () => colour("--accent"), fill: () => colour("--accent-wash"), width: 2, points: { show: false } };
    const minutes = (_, ticks) => ticks.map((time) => clock(time * 1000).slice(0, 5));
    const present = () => [Date.now() / 1000 - this.#seconds, Date.now() / 1000];
    const roomy = (_, low, high) => [Math.max(0, low - (high - low) * 0.15), high + (high - low) * 0.15 + 0.1];
    return {
      ...this.#size(),
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "gauges" }, y: false, drag: { x: false, y: false } },
      scales: { x: { range: present }, y: { range: roomy } },
      axes: [{ ...axis, space: 70, size: 24, values: minutes }, { ...axis, space: 28, size: 38 }],
      series: [{}, line],
      hooks: { draw: [(uplot) => this.#markDisconnects(uplot)] },
    };
  }

  /** A dashed line where the connection was away. What was written meanwhile came later, and is in the line. */
  #markDisconnects({ ctx, bbox, valToPos }) {
    ctx.save();
    ctx.strokeStyle = colour("--bad");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const time of disconnects.filter((time) => time > Date.now() - this.#seconds * 1000)) {
      const x = Math.round(valToPos(time / 1000, "x", true)) + devicePixelRatio / 2;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
