import type { Link, Way } from "./link.js";
import { Position } from "./position.js";
import { readEvents } from "./sse.js";
import {
  type Detail, type Gap, type KafkaRecord, type Options, type RecordOf, Refused, type State, TailraceEvent, type Transport,
} from "./types.js";
import { within } from "./within.js";

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
const isRecord = (type: string) => !/^tailrace\.(?!binary$|tombstone$|masked$|undecodable$)/.test(type);

/** As an EventSource reports what a handler throws; Node has no such function. */
function report(error: unknown) {
  if ("reportError" in globalThis) reportError(error);
  else queueMicrotask(() => { throw error; });
}

/** Returning a promise says when the event is handled: `resume` stores no position ahead of it. */
export type Handler<Value = unknown> = (event: TailraceEvent<Value>) => unknown;

export class Tailrace<Topics extends object = Record<string, unknown>> implements AsyncIterable<TailraceEvent<RecordOf<Topics>>> {
  #url: URL;
  #options: Options;
  #ways: Partial<Record<Transport, Way>>;
  #wrap: (way: Way) => Way;
  #handlers = new Map<string, Set<Handler<any>>>();
  #position: Position;
  #connection = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined; // of the next attempt
  #watch: ReturnType<typeof setTimeout> | undefined; // of the heartbeat
  #attempt = 0; // attempts since something came
  #opened = 0; // when the present connection was
  #isAlive = false; // something came over the present connection
  #mute = 0; // connections in a row that fell silent
  #transport = 0;
  #transports: Transport[];
  #heartbeat: number;
  #retry = RETRY_MS;
  #reason = "ended"; // what the server said before the end
  #token: string | undefined; // of the present connection
  #state: State = "idle";
  #detail: Detail | undefined;
  #end = new AbortController();

  /**
   * Opens the stream at once.
   *
   * @param url  the stream, absolute or relative to the page: "/t/acme/events"
   */
  constructor(url: string | URL, options: Options = {}) {
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
  get lastEventId(): string {
    return this.#position.seen;
  }

  /** connecting, open, waiting, refused or closed. */
  get state(): State {
    return this.#state;
  }

  /** How it is read: sse, unless that was silent. */
  get transport(): Transport {
    return this.#transports[this.#transport]!;
  }

  /**
   * Calls a function for events of one or several types: `on("order.created", "order.paid", fn)`; `"*"` is every record,
   * whatever its type. Types can be added at any time. Returns a function that takes this away again.
   */
  on(type: "*", handler: Handler<RecordOf<Topics>>): () => void;
  on(type: "tailrace.gap", handler: Handler<Gap>): () => void;
  on<Value = any>(...args: [...types: string[], handler: Handler<Value>]): () => void;
  // `on("order.created", "order.paid", handler)`; "*" is every record.
  on(...args: unknown[]): () => void {
    const handler = args.pop() as Handler<any>;
    const types = args as string[];
    for (const type of types) {
      if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
      this.#handlers.get(type)!.add(handler);
    }
    return () => types.forEach((type) => this.#handlers.get(type)?.delete(handler));
  }

  /** Calls a function for every record of a topic that can be decoded. Needs `envelope: "record"`, which names topics. */
  onTopic<Topic extends keyof Topics & string>(
    topic: Topic,
    handler: (record: KafkaRecord<Topics[Topic], Topic>, event: TailraceEvent) => unknown,
  ): () => void {
    if (this.#options.envelope !== "record") throw new TypeError('onTopic() needs envelope: "record"');
    return this.on("*", (event) => {
      const record: any = event.json();
      if (record.topic === topic && event.type !== "tailrace.undecodable") return handler(record, event);
    });
  }

  /**
   * Every record, and between them `tailrace.gap`, `tailrace.left` and `tailrace.synced`. While a thousand events wait, the
   * stream is not read on: nothing is dropped. Leaving the loop closes the stream. A refusal is thrown.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<TailraceEvent<RecordOf<Topics>>, void, undefined> {
    const queue: { event: TailraceEvent<RecordOf<Topics>>; see: () => void; finish: () => void }[] = [];
    let wake = () => {};
    const off = this.on("*", ...AMONG_RECORDS, (event) => {
      const see = this.#position.hold();
      return new Promise<void>((finish) => {
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
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (this.#state === "refused") throw new Refused(this.#detail!);
    } finally {
      off();
      await null; // for the event that was finished last
      await this.close();
    }
  }

  /** Cuts the connection, in the middle of whatever arrives, and resumes after `delay` ms. For demonstrations and tests. */
  cut(delay = 0): void {
    if (this.#isEnded) return;
    this.#disconnect();
    this.#wait(delay, "cut");
  }

  /** Ends the stream for good. The id stays readable. Resolves once it is stored, with `resume`. */
  close(): Promise<void> {
    if (!this.#isEnded) this.#finish("closed");
    return this.#position.save();
  }

  get #isEnded(): boolean {
    return this.#end.signal.aborted;
  }

  async #connect(renewed?: string) {
    if (this.#isEnded) return;
    this.#disconnect();
    const { signal } = (this.#connection = new AbortController());
    this.#enter("connecting");
    await this.#position.load();
    try {
      this.#token = renewed ?? (await this.#askForToken());
    } catch (error) {
      if (!signal.aborted) this.#backOff(`no token: ${(error as Error)?.message ?? error}`);
      return;
    }
    // The connection was cut, closed or replaced while the token was requested.
    if (signal.aborted) return;
    this.#isAlive = false;
    this.#opened = performance.now();
    this.#reason = "ended";
    this.#watchFor(Math.min(FIRST_MS, this.#heartbeat * SILENT_HEARTBEATS));
    try {
      await this.#wrap(this.#ways[this.transport]!)(this.#link(signal));
      if (!signal.aborted) this.#lost(this.#reason);
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  async #askForToken() {
    return within(TOKEN_MS, this.#options.token?.());
  }

  #link(signal: AbortSignal): Link {
    const ifCurrent = <Args extends unknown[]>(call: (...args: Args) => void) => (...args: Args) => {
      if (!signal.aborted) call(...args);
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
      enter: ifCurrent((state: State, detail?: Detail) => this.#enter(state, detail)),
      retry: ifCurrent((ms: number) => ms >= 0 && (this.#retry = ms)),
      take: ifCurrent((type: string | undefined, data: string, id: string | undefined) => this.#take(type, data, id)),
      room: () => {
        const room = this.#position.room();
        if (room) clearTimeout(this.#watch);
        return room?.then(ifCurrent(() => this.#alive()));
      },
    };
  }

  #canUse(transport: Transport): boolean {
    if (transport === "sse") return true;
    const { from, conflate } = this.#options;
    if (!this.#ways[transport] || !/\/events$/.test(this.#url.pathname)) return false;
    return transport === "websocket" ? "WebSocket" in globalThis : !conflate && from !== "snapshot";
  }

  #address(route: "events" | "ws" | "records"): URL {
    const address = new URL(this.#url);
    address.pathname = address.pathname.replace(/events$/, route);
    const { topics, types, keys, where, from, conflate, envelope } = this.#options;
    const add = (name: string, values?: string[]) => values?.forEach((value) => address.searchParams.append(name, value));
    add("topic", topics);
    add("type", types);
    add("key", keys);
    add("where", where);
    if (conflate) address.searchParams.set("conflate", conflate);
    if (envelope) address.searchParams.set("envelope", envelope);
    // As events, since a WebSocket's pings are hidden; and as often as the timeout expects them.
    if (this.#heartbeat && route !== "records") add("heartbeat", ["event", `${Math.round(this.#heartbeat)}ms`]);
    // `from` is kept: the server uses it if it cannot read the id.
    if (from) address.searchParams.set("from", from);
    if (this.#position.received) address.searchParams.set("last_event_id", this.#position.received);
    return address;
  }

  #take(type: string | undefined, data: string, id: string | undefined) {
    const event = new TailraceEvent(type ?? "", data, id || this.#position.received);
    this.#position.move(event.lastEventId, (hold) => {
      if (type === undefined) return;
      const handlers = [...(this.#handlers.get(type) ?? []), ...((isRecord(type) && this.#handlers.get("*")) || [])];
      for (const handler of handlers) {
        try {
          const result: any = handler(event);
          if (!result?.then) continue;
          const finish = hold();
          result.then(finish, (error: unknown) => (report(error), finish()));
        } catch (error) {
          report(error); // as an EventSource would: the other handlers are called all the same
        }
      }
    });
    if (type === "tailrace.error" || type === "tailrace.drain") this.#reason = (event.json() as { code: string }).code;
    if (type === "tailrace.status") void this.#renewAhead(event.json() as { code: string });
  }

  // Requests a new token while the stream continues, and resumes with it. Without one, the stream ends when its token does.
  async #renewAhead({ code }: { code: string }) {
    if (code !== "token_expiring" || !this.#options.token) return;
    const { signal } = this.#connection;
    const token = await this.#askForToken().catch(() => undefined);
    // With the same token, the stream would be told the same again, at once.
    if (token && token !== this.#token && !signal.aborted) await this.#connect(token);
  }

  #failed(error: unknown) {
    const problem = error instanceof Refused ? error.problem : undefined;
    if (FINAL_STATUSES.has(problem?.status as number)) return this.#finish("refused", problem);
    // A WebSocket does not say why it was not opened.
    if (this.transport === "websocket" && this.#state !== "open") this.#fellSilent();
    else if (this.transport === "pages" && !problem && !this.#isAlive) this.#transport = 0;
    if (!problem && this.#isAlive) return this.#lost("cut off");
    this.#backOff(problem ? (error as Error).message : "unreachable", problem?.after as number);
  }

  #lost(reason: string) {
    this.#disconnect();
    if (this.#isAlive) this.#wait(this.#retry, reason);
    else this.#backOff(reason);
  }

  #backOff(reason: string, atLeast = 0) {
    this.#disconnect();
    const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt++);
    // Half of the delay is random: pages that were disconnected together do not reconnect at the same moment.
    this.#wait(Math.max(full * (0.5 + Math.random() / 2), atLeast), reason);
  }

  #wait(delay: number, reason: string) {
    this.#timer = setTimeout(() => void this.#connect(), Math.min(delay, RETRY_MAX_MS));
    this.#enter("waiting", { delay, reason });
  }

  #online() {
    // Another network may pass streams.
    this.#transport = this.#mute = 0;
    if (this.#timer) void this.#connect();
  }

  // Restarts the timeout of the connection, for anything that comes: heartbeats are sent only when there are no other events.
  #alive() {
    this.#isAlive = true;
    this.#attempt = 0;
    const age = performance.now() - this.#opened;
    // What a proxy holds back comes at the beginning at most.
    if (age > this.#heartbeat || this.transport === "pages") this.#mute = 0;
    const usual = this.#options.heartbeat ?? HEARTBEAT_MS;
    if (age > CALM_MS && this.#heartbeat < usual) {
      this.#heartbeat = Math.min(usual, this.#heartbeat * 3);
      void this.#connect(this.#token);
    } else this.#watchFor(this.#heartbeat * SILENT_HEARTBEATS);
  }

  #watchFor(ms: number) {
    clearTimeout(this.#watch);
    if (!this.#heartbeat) return;
    this.#watch = setTimeout(() => {
      this.#fellSilent();
      this.#heartbeat = Math.max(Math.min(HEARTBEAT_MIN_MS, this.#heartbeat), this.#heartbeat / 3);
      this.#backOff("silent");
    }, ms);
  }

  #fellSilent() {
    if (++this.#mute < MUTE_MAX) return;
    this.#mute = this.#attempt = 0;
    this.#transport = (this.#transport + 1) % this.#transports.length;
  }

  #disconnect() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#timer = undefined;
    this.#connection.abort();
  }

  #finish(state: "refused" | "closed", detail?: Detail) {
    this.#disconnect();
    void this.#position.save();
    this.#state = state; // before the end is seen
    this.#detail = detail;
    this.#end.abort();
    this.#tell();
  }

  #enter(state: State, detail?: Detail) {
    if (this.#state === state && !detail) return;
    this.#state = state;
    this.#detail = detail;
    this.#tell();
  }

  #tell() {
    try {
      this.#options.onstate?.(this.#state, this.#detail);
    } catch (error) {
      report(error);
    }
  }
}
