import { readPages } from "./pages.js";
import { indexedDb } from "./resume.js";
import { shared } from "./share.js";
import { readSocket } from "./socket.js";
import { Tailrace as Stream } from "./tailrace.js";
import type { Options as StreamOptions, Store } from "./types.js";

export { PROTOCOL } from "./protocol.js";
/** @internal */
export { lead as _lead } from "./share.js";
export { Refused, TailraceEvent } from "./types.js";
export type { Handler } from "./tailrace.js";
export type { Detail, Gap, KafkaRecord, RecordOf, State, Store, Transport } from "./types.js";

export interface Options extends Omit<StreamOptions, "resume"> {
  /** Where the position is kept over reloads: a name in IndexedDB, or a store of one's own. Never ahead of the handlers. */
  resume?: string | Store;
  /** One connection for all tabs with the same address and options; a text tells users apart whose tokens differ. */
  share?: boolean | string;
}

/** A stream of Tailrace's that comes back by itself, and loses and repeats nothing. */
export class Tailrace<Topics extends object = Record<string, unknown>> extends Stream<Topics> {
  constructor(url: string | URL, { resume, share, ...options }: Options = {}) {
    const store = typeof resume === "string" ? indexedDb(resume) : resume;
    const wrap: StreamOptions["wrap"] = (address, end) => shared(`${share}`, address, options, end);
    const ways = { websocket: readSocket, pages: readPages };
    super(url, { ...options, ways, ...(store && { resume: store }), ...(share && { wrap }) });
  }
}
