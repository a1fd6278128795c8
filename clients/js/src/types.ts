/** An event of a stream: a record, or a control event (`tailrace.…`). */
export class TailraceEvent<Value = unknown> {
  /** The record's type, `message` for one without, or the name of a control event. */
  readonly type: string;
  /** The text that the server sent. */
  readonly data: string;
  /** The position after this event: what to resume with once it is handled. */
  readonly lastEventId: string;

  constructor(type: string, data: string, lastEventId: string) {
    this.type = type;
    this.data = data;
    this.lastEventId = lastEventId;
  }

  /** The data, parsed. */
  json(): Value {
    return JSON.parse(this.data);
  }
}

/** A record, as `envelope: "record"` has it. */
export interface KafkaRecord<Value = unknown, Topic extends string = string> {
  topic: Topic;
  partition: number;
  offset: number;
  /** In milliseconds. */
  timestamp: number | null;
  key: string | { base64: string } | null;
  headers: Record<string, string | { base64: string } | null>;
  /** Of the topic's type, unless `value_kind` says otherwise. */
  value: Value;
  value_kind?: "tombstone" | "binary" | "masked";
}

/** A record of any of the topics: `record.topic` tells which, and with it the type of `record.value`. */
export type RecordOf<Topics> = { [Topic in keyof Topics & string]: KafkaRecord<Topics[Topic], Topic> }[keyof Topics & string];

/** The data of `tailrace.gap`: records that will not come. */
export interface Gap {
  code: "retention" | "recreated" | "truncated" | "deleted" | "unknown_id";
  topic?: string;
  partition?: number;
  from?: number;
  to?: number;
  next?: number;
}

/** `refused` and `closed` are final. */
export type State = "idle" | "connecting" | "open" | "waiting" | "refused" | "closed";

/** Of `waiting`: delay and reason. Of `refused`: the status, and what the server says. */
export interface Detail {
  delay?: number;
  reason?: string;
  status?: number;
  title?: string;
  detail?: string;
  [member: string]: unknown;
}

/** The server's answer, where it is not what was asked for. */
export class Refused extends Error {
  readonly problem: Detail;

  constructor(problem: Detail) {
    super(problem.title ?? `status ${problem.status}`);
    this.problem = problem;
  }
}

/** Event streams, a WebSocket, or one page of records after the other. */
export type Transport = "sse" | "websocket" | "pages";

/** Keeps the id over restarts. */
export interface Store {
  load(): Promise<string | undefined>;
  save(id: string): Promise<unknown>;
}

/** What a subscription asks for; the names are those of the protocol's parameters. */
export interface Query {
  /** None: all that the server has. */
  topics?: string[];
  /** Any of them. */
  types?: string[];
  /** Any of them. */
  keys?: string[];
  /** All of them. */
  where?: string[];
  /** latest, earliest, snapshot, -15m, -100, a time, an id. */
  from?: string;
  /** Of what was missed, only the newest record of each key. */
  conflate?: "key";
  /** Without it the server's; over pages, `none`. */
  envelope?: "none" | "record" | "cloudevents";
}

export interface Options extends Query {
  /** Where to resume; takes precedence over `from`. */
  lastEventId?: string;
  /** Called before each connection, and before a token expires. */
  token?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** The heartbeat to ask for, in ms (default 15000; 1 s to 1 h); shorter after a silent death. 0: none is watched. */
  heartbeat?: number;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Send cookies to another origin, too. */
  withCredentials?: boolean;
  onstate?: (state: State, detail?: Detail) => void;
  /** In the order in which they are tried where a network breaks streams (default: all). */
  transports?: Transport[];
  /** Where the position is kept: behind all that handlers have finished, never ahead. */
  resume?: Store;
  /** @internal */
  ways?: Partial<Record<Transport, import("./link.js").Way>>;
  /** @internal */
  wrap?: (url: string, end: AbortSignal) => (way: import("./link.js").Way) => import("./link.js").Way;
}
