/** The rate by topic over ten minutes, as stacked areas, with marks for what happened. */

/* global uPlot */
import { $, make, span, write } from "./dom.js";
import { clock, perSecond, short } from "./format.js";
import { SHOWN } from "./rates.js";

const HEIGHT = 152;
/** The narrowest drag that is meant, in pixels. */
const MEANT = 6;
/** Between two labels of marks, in pixels. */
const APART = 62;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = () => `11px ${getComputedStyle(document.body).fontFamily}`;

export class Chart {
  #rates;
  #timeline;
  #plot = null;
  #drawn = ""; // names of the series
  #window = SHOWN; // seconds that are shown
  #layers = null; // the rates, before they are stacked
  #marks = make("div", { className: "marks" });
  #cursor = make("div", { className: "replay-line", hidden: true });
  #replayAt = null;

  /** @param {(ms: number) => void} onreplay  a drag began at this time */
  constructor(rates, timeline, onreplay) {
    this.#rates = rates;
    this.#timeline = timeline;
    this.onreplay = onreplay;
    const host = $("chart");
    new ResizeObserver(() => this.#plot?.setSize({ width: host.clientWidth, height: HEIGHT })).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plot?.redraw());
    this.draw();
  }

  /** Where the slider stands; null: nowhere. */
  set replayAt(ms) {
    this.#replayAt = ms;
    this.#place();
  }

  draw(now = Date.now()) {
    const { names } = this.#rates;
    const { times, rates } = this.#rates.series(now);
    this.#layers = rates;
    this.#window = this.#rates.window(now, this.#timeline.shown(now)[0]?.time ?? now);
    if (!this.#plot || names.join("\n") !== this.#drawn) this.#build(names);
    this.#plot.setData([times, ...stacked(rates)]);
    this.#place();
    this.#drawLegend();
  }

  #build(names) {
    this.#plot?.destroy();
    this.#drawn = names.join("\n");
    const host = $("chart");
    const tone = (i) => colour(`--topic-${i}`);
    const axis = { stroke: () => colour("--faint"), font: font(), ticks: { show: false }, grid: { stroke: () => colour("--line"), width: 1 } };
    this.#plot = new uPlot({
      width: host.clientWidth,
      height: HEIGHT,
      padding: [16, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: MEANT } },
      scales: { x: { time: true, range: (_, min, max) => [max - this.#window + 1, max] }, y: { range: (_, min, max) => [0, Math.max(1, max * 1.1)] } },
      axes: [
        { ...axis, size: 26, space: 70, values: (_, splits) => splits.map((second) => clock(second * 1000).slice(0, splits[1] - splits[0] < 60 ? 8 : 5)) },
        { ...axis, size: 44, space: 34, values: (_, splits) => splits.map((rate) => short.format(rate)) },
      ],
      series: [{}, ...names.map((name, i) => ({ label: name, stroke: () => tone(i), fill: () => `color-mix(in srgb, ${tone(i)} 45%, ${colour("--card")})`, width: 1, points: { show: false } }))],
      // Each is filled down to the one below.
      bands: names.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })),
      hooks: { setSelect: [(plot) => this.#selected(plot)], setCursor: [() => this.#drawLegend()] },
    }, [[], ...names.map(() => [])], host);
    this.#plot.over.append(this.#marks, this.#cursor);
    $("legend").replaceChildren(...names.map((name, i) =>
      make("li", { title: name }, span(`dot topic-${i}`), span("name", name), span("figure", "0"))));
  }

  #selected(plot) {
    const { left, width } = plot.select;
    if (width < MEANT) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.onreplay(plot.posToVal(left, "x") * 1000);
  }

  // Of the time under the pointer, else of now.
  #drawLegend() {
    const { idx } = this.#plot.cursor;
    const at = idx ?? SHOWN - 1;
    [...$("legend").children].forEach((item, i) => write(item.lastElementChild, perSecond(this.#layers[i]?.[at] ?? 0)));
    const text = this.#rates.names.map((name, i) => `${name} ${perSecond(this.#layers[i]?.[SHOWN - 1] ?? 0)}`).join(", ");
    $("chart").setAttribute("aria-label", `Records a second by topic over the last ten minutes${text && `. Now: ${text}`}`);
  }

  #place() {
    if (!this.#plot?.data[0].length) return;
    const left = (ms) => this.#plot.valToPos(ms / 1000, "x");
    const { width } = this.#plot.over.getBoundingClientRect();
    let free = -Infinity;
    const marks = this.#timeline.shown(Date.now()).flatMap(({ kind, label, time }) => {
      const at = Math.min(left(time), width);
      if (at < 0) return [];
      const line = make("div", { className: `mark-line ${kind}` });
      line.style.left = `${at}px`;
      if (at < free) return [line];
      free = at + APART;
      // At the right edge, the label is on the other side of its line.
      line.append(span(at > width - APART ? "label before" : "label", label));
      return [line];
    });
    this.#marks.replaceChildren(...marks);
    this.#cursor.hidden = this.#replayAt === null;
    if (this.#replayAt !== null) this.#cursor.style.left = `${left(this.#replayAt)}px`;
  }
}

// Each upon those before it; nothing where no record has come yet.
function stacked(rates) {
  const first = Math.min(...rates.map((layer) => layer.findIndex((rate) => rate > 0)).filter((i) => i >= 0));
  let below = null;
  const sums = rates.map((layer) => (below = below ? layer.map((rate, i) => rate + below[i]) : layer));
  return sums.map((layer) => layer.map((sum, i) => (i < first ? null : sum)));
}
