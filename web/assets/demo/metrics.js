import { Tailrace } from "/tailrace.js";
import { $, start } from "./board.js";
import { Chart } from "./chart.js";

const SECONDS = 300; // in sight
const GAUGES = {
  cpu_percent: { title: "CPU", unit: "%" },
  requests_per_second: { title: "Requests", unit: "/s" },
  p99_ms: { title: "Latency, p99", unit: "ms" },
  queue_depth: { title: "Queue depth", unit: "" },
  error_percent: { title: "Errors", unit: "%" },
};
const subscription = { topics: ["metrics"], from: `-${SECONDS}s` };

const charts = new Map(); // name of a gauge -> its chart

start(subscription, ({ url, signal, onstate }) => {
  charts.forEach((chart) => chart.remove());
  charts.clear();
  Object.keys(GAUGES).forEach(chartOf);
  const stream = new Tailrace(url, { ...subscription, envelope: "record", signal, onstate });
  // Each record is a value of one gauge. They come in order, also over a cut, so it is enough to add them at the end.
  stream.on("*", (event) => {
    const { timestamp, value } = JSON.parse(event.data);
    chartOf(value.name).add(timestamp / 1000, value.value);
  });
  return stream;
});

function chartOf(name) {
  if (!charts.has(name)) {
    const { title, unit } = GAUGES[name] ?? { title: name, unit: "" };
    charts.set(name, new Chart($("charts"), { name, title, unit, seconds: SECONDS }));
  }
  return charts.get(name);
}

setInterval(() => charts.forEach((chart) => chart.draw()), 250);
