const PENDING = 50_000; // records that wait for the other connection to confirm them

/** A list that is read from its begin: taking the first of a long array would move all the others. */
class Queue {
  #items = [];
  #taken = 0;

  get first() {
    return this.#items[this.#taken];
  }

  get length() {
    return this.#items.length - this.#taken;
  }

  push(item) {
    this.#items.push(item);
  }

  take() {
    const item = this.#items[this.#taken++];
    if (this.#taken * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }
}

/**
 * Compares, per partition and in offset order, what the two connections got. Lost is what the witness saw and the
 * subject did not, although the subject has got past it; repeated is what the subject got twice. Neither counts
 * what a gap event announced. It keeps only what one side is ahead of the other.
 */
export class Proof {
  lost = 0;
  repeated = 0;
  verified = 0;
  announced = 0;
  #names;
  #parts = new Map();

  /** @param {TopicNames} names  of the topics in ids */
  constructor(names) {
    this.#names = names;
  }

  #part(topic, partition) {
    const name = `${topic}/${partition}`;
    let part = this.#parts.get(name);
    if (!part) {
      const side = () => ({ era: 0, last: -1, queue: new Queue() });
      part = { topic, partition, subject: side(), witness: side(), gaps: [] };
      this.#parts.set(name, part);
    }
    return part;
  }

  record(who, { topic, partition, offset }) {
    const part = this.#part(topic, partition);
    const side = part[who];
    if (offset <= side.last) {
      if (who === "subject") this.repeated++;
      return;
    }
    side.last = offset;
    side.queue.push({ era: side.era, offset });
    if (side.queue.length > PENDING) side.queue.take();
    this.#settle(part);
  }

  gap(who, { topic, partition, from, to, next }) {
    if (topic === undefined) return;
    const part = this.#part(topic, partition);
    if (next !== undefined) {
      // The same offsets come again with other records.
      part[who].era++;
      part[who].last = next - 1;
    } else if (who === "subject") {
      part.gaps.push({ from, to: to ?? Infinity });
    }
    this.#settle(part);
  }

  /** The subject's position is known to have passed what lies below this id. */
  passed(id) {
    const positions = this.#names.positionsOf(id);
    for (const part of this.#parts.values()) {
      const offset = positions.get(part.topic)?.[part.partition] ?? -1;
      const { subject, witness } = part;
      while (!subject.queue.length && witness.queue.first?.era === subject.era && witness.queue.first.offset < offset) {
        this.#missing(part, witness.queue.take());
      }
    }
  }

  #settle(part) {
    const subject = part.subject.queue;
    const witness = part.witness.queue;
    while (subject.length && witness.length) {
      const order = subject.first.era - witness.first.era || subject.first.offset - witness.first.offset;
      if (order > 0) this.#missing(part, witness.take());
      else if (subject.take() && order === 0) witness.take() && this.verified++;
    }
  }

  #missing(part, { era, offset }) {
    const isAnnounced = era < part.subject.era || part.gaps.some(({ from, to }) => offset >= from && offset < to);
    if (isAnnounced) this.announced++;
    else this.lost++;
  }
}
