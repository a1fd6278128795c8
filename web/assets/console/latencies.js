/** How long records take to get here: now minus the record's timestamp. */

/** The newest that count. */
const KEPT = 2000;
/** For so long. */
const MINUTE_MS = 60_000;

export class Latencies {
  #times = new Float64Array(KEPT);
  #values = new Float64Array(KEPT);
  #count = 0;

  reset() {
    this.#count = 0;
  }

  add(latency, now) {
    this.#times[this.#count % KEPT] = now;
    this.#values[this.#count % KEPT] = latency;
    this.#count++;
  }

  /** The median and the 99th percentile of the last minute, in milliseconds; null without records. */
  percentiles(now) {
    const held = Math.min(this.#count, KEPT);
    const values = this.#values.slice(0, held).filter((_, i) => now - this.#times[i] < MINUTE_MS).sort();
    if (!values.length) return null;
    const at = (share) => values[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)];
    return { p50: at(0.5), p99: at(0.99), count: values.length };
  }
}
