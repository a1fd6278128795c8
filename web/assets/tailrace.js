/**
 * tailrace.js: a small client for Tailrace streams. One ES module, no dependency, no build step.
 *
 * A plain `new EventSource(url)` resumes exactly by itself, and is enough for many pages. This module adds what an
 * EventSource leaves to the page:
 *   - it reopens the stream where an EventSource gives up for good (at any response but 200, such as a proxy's 502; in
 *     Firefox also while the machine is offline, and across origins if no server listens), with growing, jittered
 *     delays, from the last id;
 *   - it requests a new token for each connection, and before the present one expires;
 *   - it detects a connection that is open but dead, by missing heartbeats;
 *   - it reports its state, and why a stream was refused;
 *   - it ends with an AbortSignal.
 *
 *     import { Tailrace } from "./tailrace.js";
 *
 *     const stream = new Tailrace("/t/acme/events", {
 *       topics: ["orders"],
 *       from: "-15m",
 *       token: async () => (await fetch("/my/token")).text(),
 *       onstate: (state, detail) => console.log(state, detail),
 *     });
 *     stream.on("message", "order.created", (event) => console.log(event.type, JSON.parse(event.data)));
 *     stream.on("tailrace.gap", (event) => reloadFromTheDatabase(JSON.parse(event.data)));
 *
 * Over a page reload: store `stream.lastEventId` and pass it back as `lastEventId`.
 *
 * Named events reach only the handlers of their name, as with every EventSource; events without a name are `message`.
 */

/** Default of `heartbeat`, in milliseconds. */
const HEARTBEAT_MS = 15_000;
/** A connection counts as dead after this many heartbeat intervals without an event. */
const SILENT_HEARTBEATS = 2.5;
/** Delay before the first attempt to reopen a stream; it doubles with each attempt. */
const BACKOFF_FIRST_MS = 500;
/** The longest delay: a page reconnects within half a minute after its server is back. */
const BACKOFF_MAX_MS = 30_000;
/** Delay before a stream is reopened after its token expired, unless the server gives one. */
const RENEW_MS = 1_000;
/** Timeout of the request for the reason of a refusal. */
const EXPLAIN_MS = 5_000;
/** Statuses at which no retry can succeed. 401 is not among them: the next attempt has a new token. */
const FINAL_STATUSES = new Set([204, 400, 403, 404, 405, 414]);

export class Tailrace {
  #url;
  #options;
  #handlers = new Map(); // event type -> Set of functions
  #source = null;
  #timer = 0; // of the next attempt
  #watch = 0; // of the heartbeat
  #attempt = 0; // attempts since a connection was last open
  #generation = 0; // tells what belongs to a connection that was replaced meanwhile
  #heartbeat;
  #lastEventId;
  #token; // of the present connection
  #state = "idle";
  #end = new AbortController();

  /**
   * Opens the stream at once.
   *
   * @param {string|URL} url  the stream, absolute or relative to the page: "/t/acme/events"
   * @param {object}   [options]
   * @param {string[]} [options.topics]     `topic=`; none: all that the server has
   * @param {string[]} [options.types]      `type=`; any of them
   * @param {string[]} [options.keys]       `key=`; any of them
   * @param {string[]} [options.where]      `where=`; all of them
   * @param {string}   [options.from]       `from=`: latest, earliest, snapshot, -15m, -100, a time, an id
   * @param {"key"}    [options.conflate]   `conflate=`: of what was missed, only the newest record of each key
   * @param {string}   [options.envelope]   `envelope=`: none, record or cloudevents
   * @param {string}   [options.lastEventId] where to resume, e.g. from before a page reload; wins over `from`
   * @param {() => (string|Promise<string>)} [options.token]  called before each connection, and before a token
   *        expires; sent as `access_token=`
   * @param {number}   [options.heartbeat]  the heartbeat to ask for, in ms (default 15000; 1 s to 1 h); 0: none is watched
   * @param {AbortSignal} [options.signal]  ends the stream
   * @param {boolean}  [options.withCredentials]  as of EventSource
   * @param {(state: string, detail?: object) => void} [options.onstate]
   *        connecting | open | waiting {delay, reason} | refused {status, title, detail} | closed.
   *        `refused` and `closed` are final.
   */
  constructor(url, options = {}) {
    // A worker has no document; its base is the address of its script.
    this.#url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    this.#options = options;
    this.#heartbeat = options.heartbeat ?? HEARTBEAT_MS;
    this.#lastEventId = options.lastEventId ?? "";
    if (options.signal?.aborted) {
      this.#state = "closed";
      return;
    }
    const { signal } = this.#end;
    options.signal?.addEventListener("abort", () => this.close(), { once: true, signal });
    globalThis.addEventListener?.("online", () => this.#timer && this.#connect(), { signal });
    this.#connect();
  }

  /** The id of the last event that a handler could have seen; "" before the first. Resume with it. */
  get lastEventId() {
    return this.#lastEventId;
  }

  /** connecting, open, waiting, refused or closed. */
  get state() {
    return this.#state;
  }

  /**
   * Calls a function for events of one or several types: `on("order.created", "order.paid", fn)`.
   * Types can be added at any time. Returns a function that takes this away again.
   */
  on(...args) {
    const handler = args.pop();
    for (const type of args) {
      if (!this.#handlers.has(type)) {
        this.#handlers.set(type, new Set());
        this.#source?.addEventListener(type, this.#dispatch);
      }
      this.#handlers.get(type).add(handler);
    }
    return () => args.forEach((type) => this.#handlers.get(type)?.delete(handler));
  }

  /** Cuts the connection, in the middle of whatever arrives, and resumes after `delay` ms. For demonstrations and tests. */
  cut(delay = 0) {
    if (this.#ended) return;
    this.#disconnect();
    this.#wait(delay, "cut");
  }

  /** Ends the stream for good. The id stays readable. */
  close() {
    if (!this.#ended) this.#finish("closed");
  }

  get #ended() {
    return this.#end.signal.aborted || this.#state === "closed";
  }

  async #connect() {
    if (this.#ended) return;
    this.#disconnect();
    const generation = this.#generation;
    this.#enter("connecting");
    let token;
    try {
      token = await this.#options.token?.();
    } catch (error) {
      if (generation === this.#generation) this.#backOff(`no token: ${error?.message ?? error}`);
      return;
    }
    // The connection was cut, closed or replaced while the token was requested.
    if (generation !== this.#generation) return;
    this.#open(token);
  }

  #open(token) {
    this.#token = token;
    const address = this.#address(token);
    const source = new EventSource(address, { withCredentials: this.#options.withCredentials ?? false });
    this.#source = source;
    source.onopen = () => {
      this.#attempt = 0;
      this.#alive();
      this.#enter("open");
    };
    source.onerror = () => this.#failed(source, address);
    for (const type of this.#handlers.keys()) source.addEventListener(type, this.#dispatch);
    // The events that the module itself needs, whether or not the page handles them.
    for (const type of ["tailrace.heartbeat", "tailrace.synced", "tailrace.status", "tailrace.error"]) {
      source.addEventListener(type, this.#dispatch);
    }
    this.#alive();
  }

  #address(token) {
    const address = new URL(this.#url);
    const { topics, types, keys, where, from, conflate, envelope } = this.#options;
    const add = (name, values) => values?.forEach((value) => address.searchParams.append(name, value));
    add("topic", topics);
    add("type", types);
    add("key", keys);
    add("where", where);
    if (conflate) address.searchParams.set("conflate", conflate);
    if (envelope) address.searchParams.set("envelope", envelope);
    if (this.#heartbeat) {
      // As events, since a script sees neither comments nor id-only frames; and as often as the timeout expects them.
      address.searchParams.append("heartbeat", "event");
      address.searchParams.append("heartbeat", `${this.#heartbeat}ms`);
    }
    if (token) address.searchParams.set("access_token", token);
    // `from` is kept: the server uses it if it cannot read the id.
    if (from) address.searchParams.set("from", from);
    if (this.#lastEventId) address.searchParams.set("last_event_id", this.#lastEventId);
    return address;
  }

  // Receives every event once, and calls its handlers.
  #dispatch = (event) => {
    if (event.target !== this.#source) return;
    this.#alive();
    // Includes id-only frames: a browser reports their id with the next event that it dispatches.
    if (event.lastEventId) this.#lastEventId = event.lastEventId;
    for (const handler of this.#handlers.get(event.type) ?? []) {
      try {
        handler(event);
      } catch (error) {
        reportError(error); // as an EventSource would: the other handlers are called all the same
      }
    }
    // An EventSource would reconnect to the same address, and so with the same, expired token.
    if (event.type === "tailrace.error") this.#renew(JSON.parse(event.data));
    if (event.type === "tailrace.status") this.#renewAhead(JSON.parse(event.data));
  };

  // Requests a new token while the stream continues, and resumes with it. Without one, the stream ends when its token does.
  async #renewAhead({ code }) {
    if (code !== "token_expiring" || this.#ended || !this.#options.token) return;
    const generation = this.#generation;
    let token;
    try {
      token = await this.#options.token();
    } catch {
      return;
    }
    // With the same token, the stream would be told the same again, at once.
    if (generation !== this.#generation || this.#ended || token === this.#token) return;
    this.#disconnect();
    this.#enter("connecting");
    this.#open(token);
  }

  #renew({ code, retry_ms }) {
    if (code !== "token_expired" || this.#ended) return;
    this.#disconnect();
    this.#wait(retry_ms ?? RENEW_MS, code);
  }

  #failed(source, address) {
    if (source !== this.#source) return;
    // The browser reconnects by itself, with the last id, which includes id-only frames.
    if (source.readyState === EventSource.CONNECTING) {
      clearTimeout(this.#watch);
      this.#enter("connecting");
      return;
    }
    // The browser gave up: the response was no stream, or there was no response.
    this.#disconnect();
    this.#explain(address, this.#generation);
  }

  // An EventSource hides why it was refused, so the same address is requested once more, for the status and headers.
  async #explain(address, generation) {
    let answer = {};
    try {
      const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(EXPLAIN_MS)]);
      const response = await fetch(address, {
        signal,
        headers: { Accept: "text/event-stream, application/problem+json" },
        credentials: this.#options.withCredentials ? "include" : "same-origin",
      });
      const problem = /json/.test(response.headers.get("Content-Type") ?? "") ? await response.json() : {};
      answer = { ...problem, status: response.status, after: Number(response.headers.get("Retry-After")) * 1000 };
      response.body?.cancel().catch(() => {});
    } catch {
      // The server is unreachable: there is no other reason to report.
    }
    if (generation !== this.#generation || this.#ended) return;
    if (FINAL_STATUSES.has(answer.status)) this.#finish("refused", answer);
    else this.#backOff(answer.title ?? (answer.status ? `status ${answer.status}` : "unreachable"), answer.after);
  }

  #backOff(reason, atLeast = 0) {
    const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt++);
    // Half of the delay is random: pages that were disconnected together do not reconnect at the same moment.
    this.#wait(Math.max(full * (0.5 + Math.random() / 2), atLeast || 0), reason);
  }

  #wait(delay, reason) {
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#enter("waiting", { delay, reason });
  }

  // Restarts the timeout of the connection, for any event: heartbeats are sent only when there are no other events.
  #alive() {
    clearTimeout(this.#watch);
    if (!this.#heartbeat) return;
    this.#watch = setTimeout(() => {
      this.#disconnect();
      this.#backOff("silent");
    }, this.#heartbeat * SILENT_HEARTBEATS);
  }

  #disconnect() {
    this.#generation++;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#timer = 0;
    this.#source?.close();
    this.#source = null;
  }

  #finish(state, detail) {
    this.#disconnect();
    this.#enter(state, detail);
    this.#end.abort();
  }

  #enter(state, detail) {
    if (this.#state === state && !detail) return;
    this.#state = state;
    this.#options.onstate?.(state, detail);
  }
}
