/**
 * tailrace.js: the client of Tailrace streams. One ES module without dependencies; an EventSource does without it, where its
 * limits do not matter (docs/protocol.md).
 *
 *     import { Tailrace } from "./tailrace.js";
 *
 *     const stream = new Tailrace("/t/acme/events", { topics: ["orders"], from: "-15m" });
 *     stream.on("order.created", (event) => console.log(event.lastEventId, event.json()));
 *     stream.on("tailrace.gap", (event) => reloadFromTheDatabase(event.json()));
 *
 * Built from clients/js/src by `npm run build` in clients/js: change it there. The npm package `tailrace` is the same, with
 * types, and with what pages seldom need: resuming over reloads, one connection for all tabs, React.
 */

/** The same, or an error after so many milliseconds. */
function within(ms, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, ms, new Error("it takes too long"));
    Promise.resolve(promise)
      .finally(() => clearTimeout(timer))
      .then(resolve, reject);
  });
}

/** While so many events wait to be handled, no more are read. */
const WAITING_MAX = 1_000;
/** The position is stored at most this often. */
const SAVE_MS = 1_000;
/** How long the stored position may take. */
const LOAD_MS = 5_000;

/** Where a stream is: what was received, what handlers could have seen, and what they have finished. */
class Position {
  /** Of the last event that came. */
  received;
  #finished;
  #entries = []; // from the first one that is not finished
  #store;
  #stored;
  #timer;
  #loading;
  #saving;
  #present; // that is being dispatched
  #room;

  constructor(id, store) {
    this.received = this.#finished = this.#stored = id;
    this.#store = store;
  }

  /** Takes what was stored, once; an id that was given explicitly takes precedence. */
  load() {
    return (this.#loading ??= this.#load());
  }

  async #load() {
    if (!this.#store || this.received)
      return;
    const id = await within(LOAD_MS, this.#store.load()).catch((error) => this.#complain(error));
    this.received = this.#finished = this.#stored = id ?? "";
  }

  /** Of the last event that everybody could have seen. */
  get seen() {
    let id = this.#finished;
    for (const entry of this.#entries) {
      if (entry.unseen)
        break;
      id = entry.id;
    }
    return id;
  }

  /** The event at this id is dispatched; what `hold` returns is to be called once a handler has finished. */
  move(id, dispatch) {
    this.received = id;
    const entry = { id, open: 1, unseen: 0 };
    this.#entries.push(entry);
    this.#present = entry;
    const finish = () => {
      entry.open--;
      this.#settle();
    };
    dispatch(() => (entry.open++, finish));
    finish();
  }

  /** The event that is being dispatched will be seen only later; returns what is to be called then. */
  hold() {
    const entry = this.#present;
    entry.unseen++;
    return () => entry.unseen--;
  }

  #settle() {
    const count = this.#entries.findIndex(({ open }) => open);
    const finished = this.#entries.splice(0, count < 0 ? this.#entries.length : count);
    if (!finished.length)
      return;
    this.#finished = finished.at(-1).id;
    if (this.#entries.length < WAITING_MAX) {
      this.#room?.open();
      this.#room = undefined;
    }
    // The first one at once: a page that goes away before would begin anew, and lose what came meanwhile.
    if (this.#store)
      this.#timer ??= setTimeout(() => void this.save(), this.#stored ? SAVE_MS : 0);
  }

  /** Where too much waits: resolves when there is room again. */
  room() {
    if (this.#entries.length < WAITING_MAX)
      return undefined;
    if (!this.#room) {
      let open = () => { };
      const promise = new Promise((resolve) => (open = resolve));
      this.#room = { promise, open };
    }
    return this.#room.promise;
  }

  /** Stores what is finished: when what is being stored is, or `now`, since there is no later when a page goes away. */
  async save(now = false) {
    if (!now)
      await this.#saving;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const id = this.#finished;
    if (!this.#store || id === this.#stored)
      return this.#saving; // what another call has begun
    this.#stored = id;
    this.#saving = this.#store.save(id).then(() => { }, (error) => this.#complain(error));
    await this.#saving;
  }

  // The stream goes on without: a reload then begins at `from`, or repeats what came since the position that was stored last.
  #complain(error) {
    if (this.#store)
      console.warn("tailrace: the position cannot be kept:", error);
    this.#store = undefined;
  }
}

/** An event of a stream: a record, or a control event (`tailrace.…`). */
class TailraceEvent {
  /** The record's type, `message` for one without, or the name of a control event. */
  type;
  /** The text that the server sent. */
  data;
  /** The position after this event: what to resume with once it is handled. */
  lastEventId;

  constructor(type, data, lastEventId) {
    this.type = type;
    this.data = data;
    this.lastEventId = lastEventId;
  }

  /** The data, parsed. */
  json() {
    return JSON.parse(this.data);
  }
}

/** The server's answer, where it is not what was asked for. */
class Refused extends Error {
  problem;

  constructor(problem) {
    super(problem.title ?? `status ${problem.status}`);
    this.problem = problem;
  }
}

async function ask(link, address, type, cache) {
  const response = await fetch(address, {
    signal: link.signal,
    credentials: link.credentials,
    cache,
    headers: { Accept: `${type}, application/problem+json`, ...(link.token && { Authorization: `Bearer ${link.token}` }) },
  });
  const got = response.headers.get("Content-Type") ?? "";
  if (response.status === 200 && got.startsWith(type))
    return response;
  const problem = got.includes("json") ? await response.json().catch(() => { }) : response.body?.cancel();
  const title = response.status === 200 ? `no ${type}` : undefined;
  const after = Number(response.headers.get("Retry-After")) * 1000 || 0;
  throw new Refused({ title, ...(await problem), status: response.status, after });
}

/** Reads a stream of Server-Sent Events. By fetch: an EventSource hides types that nobody named, heartbeats and refusals. */
async function readEvents(link) {
  const response = await ask(link, link.address("events"), "text/event-stream", "no-store");
  link.opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const take = parser(link);
  for (;;) {
    const { done, value } = await reader.read();
    if (done)
      return;
    link.alive();
    take(value);
    await link.room();
  }
}

/** By the HTML standard, section 9.2.6, without CR alone as a line end, which Tailrace does not send. */
function parser(link) {
  let rest = "";
  let type = "";
  let data = [];
  let id;
  return (chunk) => {
    const lines = chunk.split("\n");
    lines[0] = rest + lines[0];
    rest = lines.pop();
    for (let line of lines) {
      if (line.endsWith("\r"))
        line = line.slice(0, -1);
      if (!line) {
        if (data.length)
          link.take(type || "message", data.join("\n"), id);
        else if (id !== undefined)
          link.take(undefined, "", id);
        [type, data, id] = ["", [], undefined];
        continue;
      }
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (name === "data")
        data.push(value);
      else if (name === "event")
        type = value;
      else if (name === "id")
        id = value;
      else if (name === "retry")
        link.retry(Number(value));
    }
  };
}

/** Default of `heartbeat`, in milliseconds. */
const HEARTBEAT_MS = 15_000;
/** The shortest heartbeat that is asked for after silent deaths. */
const HEARTBEAT_MIN_MS = 2_000;
/** A connection counts as dead after this many heartbeat intervals without an event. */
const SILENT_HEARTBEATS = 2.5;
/** The first bytes come at once, whatever the heartbeat. */
const FIRST_MS = 10_000;
/** After this time without a death, a longer heartbeat is asked for again. */
const CALM_MS = 300_000;
/** After so many connections in a row over which nothing came, or too little, another transport is tried. */
const MUTE_MAX = 2;
/** Delay before the first attempt to reopen a stream that could not be opened; it doubles with each attempt. */
const BACKOFF_FIRST_MS = 500;
/** The longest delay: a page reconnects within half a minute after its server is back. */
const BACKOFF_MAX_MS = 30_000;
/** Delay before a stream that was open is reopened, until the server gives one. */
const RETRY_MS = 2_000;
/** The longest delay that a server can ask for. */
const RETRY_MAX_MS = 3_600_000;
/** How long a token may take. */
const TOKEN_MS = 30_000;
/** Statuses at which no retry can succeed. 401 is not among them: the next attempt has a new token. */
const FINAL_STATUSES = new Set([204, 400, 403, 404, 405, 414]);

/** Control events that stand between records, and change what they mean. */
const AMONG_RECORDS = ["tailrace.gap", "tailrace.left", "tailrace.synced"];

/** Records that have no bare value come under names of the server's, too. */
const isRecord = (type) => !/^tailrace\.(?!binary$|tombstone$|masked$|undecodable$)/.test(type);

/** As an EventSource reports what a handler throws; Node has no such function. */
function report(error) {
  if ("reportError" in globalThis)
    reportError(error);
  else
    queueMicrotask(() => { throw error; });
}

export class Tailrace {
  #url;
  #options;
  #ways;
  #wrap;
  #handlers = new Map();
  #position;
  #connection = new AbortController();
  #timer; // of the next attempt
  #watch; // of the heartbeat
  #attempt = 0; // attempts since something came
  #opened = 0; // when the present connection was
  #isAlive = false; // something came over the present connection
  #mute = 0; // connections in a row that fell silent
  #transport = 0;
  #transports;
  #heartbeat;
  #retry = RETRY_MS;
  #reason = "ended"; // what the server said before the end
  #token; // of the present connection
  #state = "idle";
  #detail;
  #end = new AbortController();

  /**
   * Opens the stream at once.
   *
   * @param url  the stream, absolute or relative to the page: "/t/acme/events"
   */
  constructor(url, options = {}) {
    // A worker has no document; its base is the address of its script.
    this.#url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    this.#options = options;
    this.#ways = { sse: readEvents, ...options.ways };
    this.#wrap = options.wrap?.(this.#url.href, this.#end.signal) ?? ((way) => way);
    this.#heartbeat = options.heartbeat ?? HEARTBEAT_MS;
    this.#transports = (options.transports ?? ["sse", "websocket", "pages"]).filter((name) => this.#canUse(name));
    this.#position = new Position(options.lastEventId ?? "", options.resume);
    if (options.signal?.aborted) {
      this.#state = "closed";
      this.#end.abort();
      return;
    }
    const { signal } = this.#end;
    options.signal?.addEventListener("abort", () => void this.close(), { once: true, signal });
    globalThis.addEventListener?.("online", () => this.#online(), { signal });
    // A page that may be restored keeps no connection; one that may not has this moment left to store its position.
    globalThis.addEventListener?.("pagehide", () => (this.#disconnect(), void this.#position.save(true)), { signal });
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && void this.#connect(), { signal });
    void this.#connect();
  }

  /** The id of the last event that a handler could have seen; "" before the first. Resume with it. */
  get lastEventId() {
    return this.#position.seen;
  }

  /** connecting, open, waiting, refused or closed. */
  get state() {
    return this.#state;
  }

  /** How it is read: sse, unless that was silent. */
  get transport() {
    return this.#transports[this.#transport];
  }
  // `on("order.created", "order.paid", handler)`; "*" is every record.
  on(...args) {
    const handler = args.pop();
    const types = args;
    for (const type of types) {
      if (!this.#handlers.has(type))
        this.#handlers.set(type, new Set());
      this.#handlers.get(type).add(handler);
    }
    return () => types.forEach((type) => this.#handlers.get(type)?.delete(handler));
  }

  /** Calls a function for every record of a topic that can be decoded. Needs `envelope: "record"`, which names topics. */
  onTopic(topic, handler) {
    if (this.#options.envelope !== "record")
      throw new TypeError('onTopic() needs envelope: "record"');
    return this.on("*", (event) => {
      const record = event.json();
      if (record.topic === topic && event.type !== "tailrace.undecodable")
        return handler(record, event);
    });
  }

  /**
   * Every record, and between them `tailrace.gap`, `tailrace.left` and `tailrace.synced`. While a thousand events wait, the
   * stream is not read on: nothing is dropped. Leaving the loop closes the stream. A refusal is thrown.
   */
  async *[Symbol.asyncIterator]() {
    const queue = [];
    let wake = () => { };
    const off = this.on("*", ...AMONG_RECORDS, (event) => {
      const see = this.#position.hold();
      return new Promise((finish) => {
        queue.push({ event, see, finish });
        wake();
      });
    });
    const { signal } = this.#end;
    signal.addEventListener("abort", () => wake());
    try {
      while (!this.#isEnded) {
        const next = queue.shift();
        if (next) {
          next.see();
          yield next.event;
          next.finish();
        }
        else
          await new Promise((resolve) => (wake = resolve));
      }
      if (this.#state === "refused")
        throw new Refused(this.#detail);
    }
    finally {
      off();
      await null; // for the event that was finished last
      await this.close();
    }
  }

  /** Cuts the connection, in the middle of whatever arrives, and resumes after `delay` ms. For demonstrations and tests. */
  cut(delay = 0) {
    if (this.#isEnded)
      return;
    this.#disconnect();
    this.#wait(delay, "cut");
  }

  /** Ends the stream for good. The id stays readable. Resolves once it is stored, with `resume`. */
  close() {
    if (!this.#isEnded)
      this.#finish("closed");
    return this.#position.save();
  }

  get #isEnded() {
    return this.#end.signal.aborted;
  }

  async #connect(renewed) {
    if (this.#isEnded)
      return;
    this.#disconnect();
    const { signal } = (this.#connection = new AbortController());
    this.#enter("connecting");
    await this.#position.load();
    try {
      this.#token = renewed ?? (await this.#askForToken());
    }
    catch (error) {
      if (!signal.aborted)
        this.#backOff(`no token: ${error?.message ?? error}`);
      return;
    }
    // The connection was cut, closed or replaced while the token was requested.
    if (signal.aborted)
      return;
    this.#isAlive = false;
    this.#opened = performance.now();
    this.#reason = "ended";
    this.#watchFor(Math.min(FIRST_MS, this.#heartbeat * SILENT_HEARTBEATS));
    try {
      await this.#wrap(this.#ways[this.transport])(this.#link(signal));
      if (!signal.aborted)
        this.#lost(this.#reason);
    }
    catch (error) {
      if (!signal.aborted)
        this.#failed(error);
    }
  }

  async #askForToken() {
    return within(TOKEN_MS, this.#options.token?.());
  }

  #link(signal) {
    const ifCurrent = (call) => (...args) => {
      if (!signal.aborted)
        call(...args);
    };
    return {
      address: (route) => this.#address(route),
      position: () => this.#position.received,
      token: this.#token,
      credentials: this.#options.withCredentials ? "include" : "same-origin",
      envelope: this.#options.envelope,
      patience: (this.#heartbeat || HEARTBEAT_MS) * SILENT_HEARTBEATS,
      signal,
      end: this.#end.signal,
      opened: ifCurrent(() => this.#enter("open")),
      alive: ifCurrent(() => this.#alive()),
      rest: ifCurrent(() => clearTimeout(this.#watch)),
      enter: ifCurrent((state, detail) => this.#enter(state, detail)),
      retry: ifCurrent((ms) => ms >= 0 && (this.#retry = ms)),
      take: ifCurrent((type, data, id) => this.#take(type, data, id)),
      room: () => {
        const room = this.#position.room();
        if (room)
          clearTimeout(this.#watch);
        return room?.then(ifCurrent(() => this.#alive()));
      },
    };
  }

  #canUse(transport) {
    if (transport === "sse")
      return true;
    const { from, conflate } = this.#options;
    if (!this.#ways[transport] || !/\/events$/.test(this.#url.pathname))
      return false;
    return transport === "websocket" ? "WebSocket" in globalThis : !conflate && from !== "snapshot";
  }

  #address(route) {
    const address = new URL(this.#url);
    address.pathname = address.pathname.replace(/events$/, route);
    const { topics, types, keys, where, from, conflate, envelope } = this.#options;
    const add = (name, values) => values?.forEach((value) => address.searchParams.append(name, value));
    add("topic", topics);
    add("type", types);
    add("key", keys);
    add("where", where);
    if (conflate)
      address.searchParams.set("conflate", conflate);
    if (envelope)
      address.searchParams.set("envelope", envelope);
    // As events, since a WebSocket's pings are hidden; and as often as the timeout expects them.
    if (this.#heartbeat && route !== "records")
      add("heartbeat", ["event", `${Math.round(this.#heartbeat)}ms`]);
    // `from` is kept: the server uses it if it cannot read the id.
    if (from)
      address.searchParams.set("from", from);
    if (this.#position.received)
      address.searchParams.set("last_event_id", this.#position.received);
    return address;
  }

  #take(type, data, id) {
    const event = new TailraceEvent(type ?? "", data, id || this.#position.received);
    this.#position.move(event.lastEventId, (hold) => {
      if (type === undefined)
        return;
      const handlers = [...(this.#handlers.get(type) ?? []), ...((isRecord(type) && this.#handlers.get("*")) || [])];
      for (const handler of handlers) {
        try {
          const result = handler(event);
          if (!result?.then)
            continue;
          const finish = hold();
          result.then(finish, (error) => (report(error), finish()));
        }
        catch (error) {
          report(error); // as an EventSource would: the other handlers are called all the same
        }
      }
    });
    if (type === "tailrace.error" || type === "tailrace.drain")
      this.#reason = event.json().code;
    if (type === "tailrace.status")
      void this.#renewAhead(event.json());
  }

  // Requests a new token while the stream continues, and resumes with it. Without one, the stream ends when its token does.
  async #renewAhead({ code }) {
    if (code !== "token_expiring" || !this.#options.token)
      return;
    const { signal } = this.#connection;
    const token = await this.#askForToken().catch(() => undefined);
    // With the same token, the stream would be told the same again, at once.
    if (token && token !== this.#token && !signal.aborted)
      await this.#connect(token);
  }

  #failed(error) {
    const problem = error instanceof Refused ? error.problem : undefined;
    if (FINAL_STATUSES.has(problem?.status))
      return this.#finish("refused", problem);
    // A WebSocket does not say why it was not opened.
    if (this.transport === "websocket" && this.#state !== "open")
      this.#fellSilent();
    else if (this.transport === "pages" && !problem && !this.#isAlive)
      this.#transport = 0;
    if (!problem && this.#isAlive)
      return this.#lost("cut off");
    this.#backOff(problem ? error.message : "unreachable", problem?.after);
  }

  #lost(reason) {
    this.#disconnect();
    if (this.#isAlive)
      this.#wait(this.#retry, reason);
    else
      this.#backOff(reason);
  }

  #backOff(reason, atLeast = 0) {
    this.#disconnect();
    const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt++);
    // Half of the delay is random: pages that were disconnected together do not reconnect at the same moment.
    this.#wait(Math.max(full * (0.5 + Math.random() / 2), atLeast), reason);
  }

  #wait(delay, reason) {
    this.#timer = setTimeout(() => void this.#connect(), Math.min(delay, RETRY_MAX_MS));
    this.#enter("waiting", { delay, reason });
  }

  #online() {
    // Another network may pass streams.
    this.#transport = this.#mute = 0;
    if (this.#timer)
      void this.#connect();
  }

  // Restarts the timeout of the connection, for anything that comes: heartbeats are sent only when there are no other events.
  #alive() {
    this.#isAlive = true;
    this.#attempt = 0;
    const age = performance.now() - this.#opened;
    // What a proxy holds back comes at the beginning at most.
    if (age > this.#heartbeat || this.transport === "pages")
      this.#mute = 0;
    const usual = this.#options.heartbeat ?? HEARTBEAT_MS;
    if (age > CALM_MS && this.#heartbeat < usual) {
      this.#heartbeat = Math.min(usual, this.#heartbeat * 3);
      void this.#connect(this.#token);
    }
    else
      this.#watchFor(this.#heartbeat * SILENT_HEARTBEATS);
  }

  #watchFor(ms) {
    clearTimeout(this.#watch);
    if (!this.#heartbeat)
      return;
    this.#watch = setTimeout(() => {
      this.#fellSilent();
      this.#heartbeat = Math.max(Math.min(HEARTBEAT_MIN_MS, this.#heartbeat), this.#heartbeat / 3);
      this.#backOff("silent");
    }, ms);
  }

  #fellSilent() {
    if (++this.#mute < MUTE_MAX)
      return;
    this.#mute = this.#attempt = 0;
    this.#transport = (this.#transport + 1) % this.#transports.length;
  }

  #disconnect() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#timer = undefined;
    this.#connection.abort();
  }

  #finish(state, detail) {
    this.#disconnect();
    void this.#position.save();
    this.#state = state; // before the end is seen
    this.#detail = detail;
    this.#end.abort();
    this.#tell();
  }

  #enter(state, detail) {
    if (this.#state === state && !detail)
      return;
    this.#state = state;
    this.#detail = detail;
    this.#tell();
  }

  #tell() {
    try {
      this.#options.onstate?.(this.#state, this.#detail);
    }
    catch (error) {
      report(error);
    }
  }
}
