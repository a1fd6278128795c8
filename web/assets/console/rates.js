/** How many records of each topic there were in each of the last seconds. */

/** Seconds that are shown: ten minutes. */
export const SHOWN = 600;
/** It begins with fewer, as long as there is nothing before them. */
const WINDOWS = [120, 300, SHOWN];
/** Seconds over which a rate is averaged. */
const WINDOW = 5;
const KEPT = SHOWN + WINDOW + 5;
/** Topics with a colour of their own; all further ones share the last. */
export const OWN = 7;
/** How far a producer's clock may be ahead, in seconds. */
const AHEAD = 5;

export class Rates {
  #slots = new Map(); // topic -> the number of its series
  #counts = []; // by series, a ring of seconds
  #arrived = new Float64Array(KEPT); // all of them, by the time at which they came
  #second = 0;

  /** Begins anew. `topics` get their colours in this order, others when they come. */
  reset(topics = []) {
    this.#slots.clear();
    this.#counts = [];
    this.#arrived.fill(0);
    this.#second = 0;
    topics.slice(0, OWN).forEach((topic) => this.slot(topic));
  }

  /** The names of the series. */
  get names() {
    const own = [...this.#slots].filter(([, slot]) => slot < OWN).map(([topic]) => topic);
    return this.#counts.length > OWN ? [...own, "others"] : own;
  }

  slot(topic) {
    let slot = this.#slots.get(topic);
    if (slot === undefined) {
      slot = Math.min(this.#slots.size, OWN);
      if (slot < OWN) this.#slots.set(topic, slot);
      if (!this.#counts[slot]) this.#counts[slot] = new Float64Array(KEPT);
    }
    return slot;
  }

  /** A record counts at its own time: so a replay fills the past. Where it has none of these minutes, a live one counts now. */
  add(topic, timestamp, isLive, now) {
    this.#advance(now);
    const slot = this.slot(topic);
    this.#arrived[this.#second % KEPT]++;
    let second = timestamp > 0 ? Math.floor(timestamp / 1000) : this.#second;
    const isShown = second > this.#second - KEPT && second <= this.#second + AHEAD;
    if (!isShown && !isLive) return;
    if (!isShown || second > this.#second) second = this.#second;
    this.#counts[slot][second % KEPT]++;
  }

  /** Events a second that came within the last three. */
  arriving(now) {
    this.#advance(now);
    const at = (back) => this.#arrived[(this.#second - back) % KEPT];
    return (at(1) + at(2) + at(3)) / 3;
  }

  /** Times in seconds, and for each series the rate at each of them. */
  series(now) {
    this.#advance(now);
    // The present second is not over.
    const last = this.#second - 1;
    const times = Array.from({ length: SHOWN }, (_, i) => last - SHOWN + 1 + i);
    const rates = this.#counts.map((counts) => {
      let sum = 0;
      for (let back = WINDOW - 1; back > 0; back--) sum += counts[(times[0] - back + KEPT) % KEPT];
      return times.map((time) => {
        sum += counts[time % KEPT];
        const rate = sum / WINDOW;
        sum -= counts[(time - WINDOW + 1) % KEPT];
        return rate;
      });
    });
    return { times, rates };
  }

  /** How many of these seconds are of interest: from the first record, or `since`, on. */
  window(now, since) {
    this.#advance(now);
    let oldest = Math.max(0, this.#second - Math.floor(since / 1000));
    for (const counts of this.#counts) {
      for (let back = SHOWN; back > oldest; back--) if (counts[(this.#second - back + KEPT) % KEPT]) oldest = back;
    }
    return WINDOWS.find((seconds) => seconds >= oldest + 1) ?? SHOWN;
  }

  #advance(now) {
    const second = Math.floor(now / 1000);
    if (second <= this.#second) return;
    for (let next = Math.max(this.#second + 1, second - KEPT + 1); next <= second; next++) {
      this.#arrived[next % KEPT] = 0;
      for (const counts of this.#counts) counts[next % KEPT] = 0;
    }
    this.#second = second;
  }
}
