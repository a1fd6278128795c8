/** The counters, and what they say together. */

import { $, write } from "./dom.js";
import { latency, number, perSecond, short } from "./format.js";

const LATENCY = "Now minus the record's timestamp: the newest 2,000 live records of the last minute, by this machine's clock. Replayed records do not count.";

for (const id of ["p50-tile", "p99-tile"]) $(id).title = LATENCY;

export function drawCounters(run) {
  const { lost, repeated, compared, announced, isSettled } = run.verdict;
  figure("events", run.events);
  figure("cuts", run.cuts);
  for (const [name, value] of Object.entries({ lost, repeated })) {
    figure(name, value);
    $(`${name}-tile`).classList.toggle("bad", value > 0);
    $(`${name}-tile`).classList.toggle("proved", run.cuts > 0 && isSettled && value === 0 && compared > 0);
  }
  write($("lost-note"), `${short.format(compared + lost)} compared`);
  $("lost").dataset.verified = compared;
  const verdict = sentence(run.cuts, compared, lost, repeated, announced, isSettled);
  for (const id of ["verdict", "verdict-below"]) write($(id), verdict);
}

export function drawRates(arriving, percentiles) {
  write($("rate"), perSecond(arriving));
  for (const name of ["p50", "p99"]) write($(name), percentiles ? latency(percentiles[name]) : "–");
}

/** The verdict: what was compared with the connection that is never cut. */
export function sentence(cuts, compared, lost, repeated, announced, isSettled) {
  const many = (count, one, more = `${one}s`) => `${number.format(count)} ${count === 1 ? one : more}`;
  const gaps = announced ? `, ${number.format(announced)} announced by gaps` : "";
  if (!compared && !lost && !repeated) return cuts ? `${many(cuts, "cut")}, nothing compared yet.` : "Nothing is compared yet.";
  const before = `${cuts ? many(cuts, "cut") : "No cut yet"}, ${number.format(compared + lost)} compared`;
  if (lost || repeated) return `${before}, ${number.format(lost)} lost, ${number.format(repeated)} repeated${gaps}.`;
  return cuts && !isSettled ? `${before} so far …` : `${before}, all there once${gaps}.`;
}

function figure(id, value) {
  write($(id), number.format(value));
  $(id).dataset.value = value;
}
