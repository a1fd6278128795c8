/**
 * One subscription from its start to its stop: the connection on trial, which can be cut, and the witness, a second one that
 * is not, with which it is compared.
 */

import { Tailrace } from "../../tailrace.js";
import { Proof } from "../proof.js";
import { witness } from "../witness.js";
import { route, streamAddress } from "./stream-address.js";

/** How long a cut lasts: long enough for events to be missed. */
const CUT_MS = 300;
/** The comparison has settled after a cut once this time has passed. */
const SETTLED_MS = 1500;
/** Until the reader is told that it takes long. */
const SLOW_MS = 6000;
const CONTROL = ["gap", "synced", "status", "error", "drain", "left", "heartbeat"].map((name) => `tailrace.${name}`);
/** Records have no type of their own here, unless they cannot be decoded. */
const RECORDS = ["message", "tailrace.undecodable"];

export class Run {
  choice;
  events = 0;
  cuts = 0;
  /** idle, connecting, replaying, live, waiting or refused */
  state = "idle";
  #on;
  #proof;
  #end = new AbortController();
  #token;
  #stream = null;
  #id = "";
  #passed = "";
  #lastCut = 0;
  #isCut = false;
  #wasOpen = false;

  /**
   * @param {object} choice  tenant, topics, types, where, from
   * @param {() => string} token  "" for none
   * @param {TopicNames} names
   * @param {object} on  record(record, id), control(type, data), state(state, detail), refused(problem), reconnected(wasCut),
   *                     topic(name), slow()
   */
  constructor(choice, token, names, on) {
    this.choice = choice;
    this.#on = on;
    this.#proof = new Proof(names);
    this.#token = token() ? token : undefined;
  }

  start() {
    this.#enter("connecting");
    // Over HTTP/1.1 a browser opens six connections to one server, and a console takes two of them.
    const slow = setTimeout(this.#on.slow, SLOW_MS);
    this.#end.signal.addEventListener("abort", () => clearTimeout(slow));
    witness(streamAddress(this.choice, { envelope: "record" }), {
      signal: this.#end.signal,
      token: this.#token,
      onid: (id) => {
        clearTimeout(slow);
        if (!this.#stream) this.#subscribe(id);
      },
      onevent: (type, data) => this.#testify(type, JSON.parse(data)),
      onrefused: (problem) => {
        clearTimeout(slow);
        if (this.#stream || this.isOver) return;
        this.#enter(problem.again ? "waiting" : "refused", problem);
        this.#on.refused(problem);
      },
      onstate: (state) => {
        if (state === "waiting" && !this.#stream && this.state !== "refused") this.#enter("waiting", { reason: "no answer" });
      },
    });
  }

  stop() {
    this.#end.abort();
    this.#enter("idle");
  }

  cut() {
    if (!this.canBeCut) return;
    this.cuts++;
    this.#lastCut = Date.now();
    this.#isCut = true;
    this.#stream.cut(CUT_MS);
  }

  get isOver() {
    return this.#end.signal.aborted;
  }

  get canBeCut() {
    return this.#stream !== null && !this.isOver && this.state !== "refused";
  }

  /** The newest id: also of heartbeats, which move the positions past records that do not match. */
  get id() {
    return this.#id;
  }

  /** lost, repeated, compared, announced; isSettled: nothing of the newest cut may still be on its way. */
  get verdict() {
    if (this.#id && this.#id !== this.#passed) {
      try {
        this.#proof.passed(this.#id);
        this.#passed = this.#id;
      } catch {
        // An id that only the server can read: just what is heard is compared.
      }
    }
    const { lost, repeated, verified, announced } = this.#proof;
    return { lost, repeated, compared: verified, announced, isSettled: Date.now() - this.#lastCut > SETTLED_MS };
  }

  // An EventSource, started at the very id that the witness began with.
  #subscribe(id) {
    this.#id = id;
    const { tenant, topics, types, where } = this.choice;
    const address = route(tenant, "events");
    address.searchParams.set("event", "none");
    this.#stream = new Tailrace(address, {
      topics,
      types,
      where,
      envelope: "record",
      from: id,
      token: this.#token,
      signal: this.#end.signal,
      onstate: (state, detail) => this.isOver || this.#changed(state, detail),
    });
    this.#stream.on(...RECORDS, (event) => this.#receive(event));
    this.#stream.on(...CONTROL, (event) => this.#control(event));
  }

  #receive(event) {
    const record = JSON.parse(event.data);
    this.#id = event.lastEventId;
    this.events++;
    this.#proof.record("subject", record);
    this.#on.topic(record.topic);
    this.#on.record(record, event.lastEventId);
  }

  #testify(type, data) {
    if (type === "tailrace.gap") return this.#proof.gap("witness", data);
    if (type.startsWith("tailrace.") && !RECORDS.includes(type)) return;
    this.#on.topic(data.topic);
    this.#proof.record("witness", data);
  }

  #control(event) {
    if (event.lastEventId) this.#id = event.lastEventId;
    const data = JSON.parse(event.data || "{}");
    if (event.type === "tailrace.gap") this.#proof.gap("subject", data);
    if (event.type === "tailrace.synced") this.#enter("live");
    this.#on.control(event.type, data);
  }

  #changed(state, detail = {}) {
    if (state === "open") {
      if (this.#wasOpen) this.#on.reconnected(this.#isCut);
      this.#wasOpen = true;
      this.#isCut = false;
      return this.#enter("replaying");
    }
    this.#enter(state === "closed" ? "idle" : state, detail);
    if (state === "refused") this.#on.refused(detail);
  }

  #enter(state, detail = {}) {
    const before = this.state;
    this.state = state;
    this.#on.state(state, detail, before);
  }
}
