import { type Detail, Refused, type State } from "./types.js";

/** What a way of reading knows of its stream, and tells it. */
export interface Link {
  /** The address with all parameters; undefined where the stream has no such route. */
  address(route: "events" | "ws" | "records"): URL | undefined;
  /** The id to go on from. */
  position(): string;
  readonly token: string | undefined;
  readonly credentials: RequestCredentials;
  /** The envelope that was asked for. */
  readonly envelope: string | undefined;
  /** How long the server may be silent, in ms. */
  readonly patience: number;
  /** Ends this connection. */
  readonly signal: AbortSignal;
  /** Ends the stream. */
  readonly end: AbortSignal;
  opened(): void;
  /** Something came. */
  alive(): void;
  /** Nothing need come for now. */
  rest(): void;
  enter(state: State, detail?: Detail): void;
  retry(ms: number): void;
  /** An event, or without a type a move of the position. */
  take(type: string | undefined, data: string, id: string | undefined): void;
  /** Where too much waits for handlers: resolves when there is room again. */
  room(): Promise<void> | undefined;
}

/** Reads until the connection ends; rejects with `Refused`, or with why it was lost. */
export type Way = (link: Link) => Promise<void>;

export async function ask(link: Link, address: URL, type: string, cache: RequestCache): Promise<Response> {
  const response = await fetch(address, {
    signal: link.signal,
    credentials: link.credentials,
    cache,
    headers: { Accept: `${type}, application/problem+json`, ...(link.token && { Authorization: `Bearer ${link.token}` }) },
  });
  const got = response.headers.get("Content-Type") ?? "";
  if (response.status === 200 && got.startsWith(type)) return response;
  const problem = got.includes("json") ? await response.json().catch(() => {}) : response.body?.cancel();
  const title = response.status === 200 ? `no ${type}` : undefined;
  const after = Number(response.headers.get("Retry-After")) * 1000 || 0;
  throw new Refused({ title, ...(await problem), status: response.status, after });
}
