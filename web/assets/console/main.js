/** The console: puts its parts together, and draws them by the clock. */

import { TopicNames } from "../event-id.js";
import { query, read } from "./address.js";
import { Chart } from "./chart.js";
import { Code } from "./code.js";
import { Decoder } from "./decoder.js";
import { renewAges } from "./details.js";
import { $, copy, make, write } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Form } from "./form.js";
import { iso, number, perSecond } from "./format.js";
import { Latencies } from "./latencies.js";
import { say } from "./log.js";
import { remembered } from "./memory.js";
import { Positions } from "./positions.js";
import { Rates } from "./rates.js";
import { replaySlider } from "./replay.js";
import { Run } from "./run.js";
import { suggestions, Topics } from "./server.js";
import { Table } from "./table.js";
import { drawCounters, drawRates } from "./tiles.js";
import { Timeline } from "./timeline.js";

const EVENTS_MS = 100;
const COUNTERS_MS = 250;
const CHART_MS = 1000;
/** Topics whose names are kept: those of a server that lists none. */
const MOST_TOPICS = 2000;

let run = null;
let lastId = "";
let served = { topics: [], tenants: [], boards: [], start: null };
const met = new Set(); // topics
const names = new TopicNames();
const rates = new Rates();
const latencies = new Latencies();
const timeline = new Timeline();

const decoder = new Decoder(names);
const drawer = new Drawer(() => decoder.draw());
const positions = new Positions(names);
const code = new Code();
const chart = new Chart(rates, timeline, replay);
const slider = replaySlider((ms) => (chart.replayAt = ms), replay);
const topics = new Topics(knowTopics);
const table = new Table({
  condition: (text) => form.addCondition(text),
  topic: (name) => form.onlyTopic(name),
  type: (name) => form.onlyType(name),
  time: replay,
  changed: showAddress,
  decode(id) {
    decoder.show(id);
    drawer.show("id");
  },
});
const form = new Form({
  start,
  stop() {
    say("", "Stopped");
    stop();
    showAddress();
  },
  edited,
  // What a chip or a condition says is asked for at once, where something is asked for.
  switched: () => isRunning() && start(),
  tenant: askForTopics,
});

// ---------------------------------------------------------------- start and stop

const isRunning = () => run !== null && !run.isOver && run.state !== "refused";

function start() {
  form.settle();
  stop();
  const choice = form.choice;
  form.remember(choice);
  form.refuse(null);
  rates.reset(choice.topics.length ? choice.topics : served.topics);
  latencies.reset();
  run = new Run(choice, () => form.token, names, { record, control, state, refused, reconnected, topic: meet, slow });
  timeline.add("start", "start");
  say("", "Started", describe(choice));
  write($("start"), "Start again");
  $("stop").disabled = false;
  table.begin();
  form.fold(true);
  edited();
  showAddress();
  run.start();
  drawCounters(run);
}

function stop() {
  if (!run || run.isOver) return;
  const ended = run;
  ended.stop();
  // The last that came, too.
  drawCounters(ended);
  $("stop").disabled = true;
  write($("start"), "Start");
}

function replay(ms) {
  form.from = iso(Math.round(ms));
  start();
}

function cut() {
  if (!run?.canBeCut) return;
  run.cut();
  timeline.add("cut", "cut");
  say("cut", `Cut ${run.cuts}`, "Resumes from the last id.");
  drawCounters(run);
}

// ---------------------------------------------------------------- what a run tells

function record(one, id) {
  const now = Date.now();
  const isLive = run.state === "live";
  lastId = id;
  rates.add(one.topic, one.timestamp, isLive, now);
  if (isLive && one.timestamp > 0) latencies.add(now - one.timestamp, now);
  if (one.type !== undefined) form.offerTypes([one.type]);
  table.add(one, id, rates.slot(one.topic));
}

const GAPS = {
  retention: "Kafka no longer has them.",
  recreated: "The topic was deleted and created again.",
  truncated: "The log was cut back.",
  deleted: "The topic or partition is gone.",
  unknown_id: "The last event id could not be read.",
};

function control(type, data) {
  switch (type) {
    case "tailrace.gap": {
      const where = data.topic === undefined ? "" : `${data.topic} ${data.partition}, ${data.from} to ${data.to ?? `the end; on at ${data.next}`}. `;
      timeline.add("gap", `gap ${data.code}`);
      return say("bad", `Gap: ${data.code}`, where + (GAPS[data.code] ?? ""));
    }
    case "tailrace.synced":
      return say("good", "Live", `${number.format(data.replayed ?? 0)} replayed`);
    case "tailrace.status":
      timeline.add("status", data.code);
      return say(data.code === "ok" ? "good" : "warn", `Status: ${data.code}`, data.message ?? "");
    case "tailrace.error":
      return say("warn", `The server ends the connection: ${data.code}`, data.message ?? "");
    case "tailrace.drain":
      timeline.add("drain", "drain");
      return say("warn", `Drain: ${data.code}`, `The server closes this connection; back in ${((data.retry_ms ?? 2000) / 1000).toFixed(1)} s.`);
  }
}

function state(name, detail, before) {
  write($("state"), name);
  $("state").dataset.state = name;
  table.isRunning = isRunning();
  const canBeCut = run?.canBeCut ?? false;
  for (const button of document.querySelectorAll(".cut-button")) button.disabled = !canBeCut;
  drawFold();
  if (name === "replaying") topics.of(run.choice.tenant, form.token);
  const wasOpen = before === "live" || before === "replaying";
  if (wasOpen && (name === "connecting" || name === "waiting") && detail.reason !== "cut") timeline.add("lost", "lost");
  if (name === "waiting" && detail.reason && detail.reason !== "cut") {
    const again = detail.delay ? `; tries again in ${(detail.delay / 1000).toFixed(1)} s` : "; tries again";
    say("warn", "No connection", `${detail.reason}${again}`);
  } else if (wasOpen && name === "connecting") say("warn", "Reconnecting", "With the last event id.");
}

function reconnected(wasCut) {
  if (!wasCut) timeline.add("back", "back");
}

function refused(problem) {
  const title = problem.title ?? "Refused";
  say("bad", `${title} (${problem.status})`, explain(problem));
  table.say(problem.again ? "Not yet" : "Refused", `${title}. ${explain(problem)}`);
  form.refuse(problem);
  if (problem.again) return;
  $("stop").disabled = true;
  write($("start"), "Start");
}

function slow() {
  say("warn", "Still connecting", "Too many tabs on this server? Over HTTP/1.1 a browser shares six connections among all of them.");
}

// A problem document says which parameter, which of its values, and where in it.
function explain({ parameter, index = 0, column, detail = "" }) {
  const place = [parameter && `${parameter} ${index + 1}`, column && `column ${column}`].filter(Boolean).join(", ");
  return place ? `${place}: ${detail}` : detail;
}

function describe({ tenant, topics, types, where, from }) {
  const what = topics.length ? topics.join(", ") : "all topics";
  return [tenant, what, types.join(", "), where.join(" and "), `from ${(from || "latest").slice(0, 40)}`].filter(Boolean).join(" · ");
}

// ---------------------------------------------------------------- names

function meet(topic) {
  if (met.has(topic) || met.size >= MOST_TOPICS) return;
  met.add(topic);
  names.meet(topic);
  form.offerTopic(topic);
  decoder.renamed();
}

/** Of a tenant that is chosen. Without one, the stream is to tell first whether the server has but one. */
function askForTopics() {
  const { tenant } = form.choice;
  if (tenant) topics.of(tenant, form.token);
}

function knowTopics(list) {
  names.learn(list.map(({ topic }) => topic));
  form.offer(list, perSecond);
  positions.learn(list);
  decoder.renamed();
  if (run) positions.draw(run.id);
}

// ---------------------------------------------------------------- the address, and what follows the form

function edited() {
  code.of(form.choice, form.token !== "");
  drawFold();
}

function drawFold() {
  const { tenant, topics } = run && !run.isOver ? run.choice : form.choice;
  write($("fold-text"), [tenant || "no tenant", topics.join(", ") || "all topics", $("state").textContent].join(" · "));
}

// The token never gets into the address.
function showAddress() {
  const choice = isRunning() ? run.choice : form.choice;
  history.replaceState(null, "", location.pathname + query(choice, table.search, table.columns, isRunning()));
}

function drawBoards(boards) {
  $("boards").hidden = !boards.length;
  $("boards").replaceChildren(...boards.map(({ path, title }) => make("a", { href: path, textContent: title })));
}

// ---------------------------------------------------------------- wiring

for (const button of document.querySelectorAll(".cut-button")) button.addEventListener("click", cut);
$("copy-link").addEventListener("click", ({ target }) => {
  const link = new URL(location.pathname, location.href);
  link.search = query(form.choice, table.search, table.columns, true);
  copy(target, link.href);
});
// Handlers run for what already arrived only before the page is left; the connections go with it.
addEventListener("pagehide", stop);

async function begin() {
  const { choice, search, columns, isEmpty, autostart } = read(location);
  form.choice = choice;
  table.columns = columns;
  table.search = search;
  remembered("topics").forEach((topic) => names.meet(topic));
  edited();
  served = await suggestions();
  names.learn(served.topics);
  form.serve(served);
  drawBoards(served.boards);
  if (isEmpty && served.start) form.choice = served.start;
  if (autostart || (isEmpty && served.start)) start();
  else askForTopics();
}

begin();
setInterval(() => table.draw(), EVENTS_MS);
setInterval(() => {
  if (!run || run.isOver) return;
  drawCounters(run);
  if (document.hidden) return;
  decoder.newest = run.id || lastId;
  positions.draw(run.id);
}, COUNTERS_MS);
setInterval(() => {
  if (document.hidden) return;
  const now = Date.now();
  chart.draw(now);
  slider.draw();
  drawRates(run && !run.isOver ? rates.arriving(now) : 0, latencies.percentiles(now));
  renewAges($("list"));
}, CHART_MS);
