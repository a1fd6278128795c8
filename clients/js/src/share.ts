import type { Link, Way } from "./link.js";
import { PROTOCOL } from "./protocol.js";
import { Tailrace } from "./tailrace.js";
import { type Detail, type Options, Refused, type State } from "./types.js";

/** How long the one that reads for all may take to answer. */
const ASK_MS = 500;
/** How often it is asked, by a tab that reads for itself. */
const ASK_EVERY_MS = 2_000;
/** How long a SharedWorker may take to start before a tab reads for all. */
const WORKER_MS = 1_000;
/** Events that the one that reads for all keeps, for tabs that join behind it. */
const RECENT_MAX = 1_000;
/** How long the tab that joined last may take for a token before all are asked. */
const TOKEN_MS = 2_000;
/** Within this time, tabs join whoever reads for all next. */
const REJOIN_MS = 300;
/** How often it looks whether there is still a tab. */
const IDLE_MS = 10_000;

/** Type (none: a move of the position), data, id. */
type Sent = [type: string | undefined, data: string, id: string | undefined];

/** What goes over the channel. `run`: from the one that reads for all, which is another one with another run. `to`: to one tab. */
interface Message {
  run?: string;
  to?: string | undefined;
  from?: string;
  /** Of a tab: its position, to go on from. Of the answer: whether it can. */
  join?: string | boolean;
  url?: string;
  options?: Options;
  number?: number;
  sent?: Sent[];
  state?: State;
  detail?: Detail | undefined;
  alive?: true;
  wanted?: number;
  token?: string | undefined;
}

/** Two ids of one position may differ in their minute, which matters to topics created since only. */
function place(id: string): string {
  try {
    const bytes = atob(id.replaceAll("-", "+").replaceAll("_", "/"));
    if (bytes.charCodeAt(0) === PROTOCOL) return bytes.slice(4, -2);
  } catch {} // of another version
  return id;
}

/** Reads for all tabs, as long as it has the lock. */
export async function lead(name: string, end?: AbortSignal): Promise<void> {
  await navigator.locks.request(name, { ...(end && { signal: end }) }, () => read(name, end)).catch(() => {});
}

function read(name: string, end?: AbortSignal): Promise<void> {
  const channel = new BroadcastChannel(name);
  const run = String(Math.random());
  const say = (message: Message) => channel.postMessage({ run, ...message });
  const tokens = new Map<number, (token: string | undefined) => void>();
  let recent: Sent[] = [];
  let stream: Tailrace | undefined;
  let isAlive = false;
  let last = "";
  let state: State = "idle";
  let detail: Detail | undefined;

  const tap = (way: Way): Way => (link) =>
    way({
      ...link,
      alive() {
        link.alive();
        if (!isAlive) queueMicrotask(() => ((isAlive = false), say({ alive: true })));
        isAlive = true;
      },
      take(...sent) {
        link.take(...sent);
        recent.push(sent);
        if (recent.length > RECENT_MAX) recent.shift();
        say({ sent: [sent] });
      },
    });

  const askForToken = () =>
    new Promise<string | undefined>((resolve) => {
      const wanted = Math.random();
      tokens.set(wanted, (token) => (tokens.delete(wanted), resolve(token)));
      say({ wanted, to: last });
      setTimeout(() => tokens.has(wanted) && say({ wanted }), TOKEN_MS);
    });

  const start = (join: string, url: string, options: Options & { token?: unknown }) => {
    recent = [[undefined, "", join]];
    const onstate = (now: State, why?: Detail) => {
      [state, detail] = [now, why];
      if (state !== "closed") say({ state, detail }); // else another one reads next
      if (state === "refused") stream = undefined; // the next who joins may have another token
    };
    const token = options.token ? askForToken : undefined;
    stream = new Tailrace(url, { ...options, lastEventId: join, onstate, token, wrap: () => tap });
  };

  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    const { from, join, url, options, number, wanted, token } = data;
    if (wanted !== undefined && !data.run) tokens.get(wanted)?.(token);
    if (typeof join !== "string") return;
    last = from!;
    if (!stream) start(join, url!, options!);
    const at = recent.findLastIndex(([, , id]) => id && (!join || place(id) === place(join)));
    // Who joins now begins here: with the position, without what came before.
    const sent = join ? recent.slice(at + 1) : [[undefined, "", recent[at]?.[2]] satisfies Sent];
    say({ to: from, number: number!, join: !join || at >= 0, sent, state, detail });
  };
  say({});
  const idle = setInterval(() => {
    void navigator.locks.request(`${name} tab`, { ifAvailable: true }, async (lock) => {
      if (!lock) return;
      void stream?.close();
      stream = undefined;
    });
  }, IDLE_MS);

  return new Promise((resolve) =>
    end?.addEventListener("abort", () => {
      clearInterval(idle);
      void stream?.close();
      channel.close();
      resolve();
    }),
  );
}

/**
 * A way of reading that reads along with the other tabs, where one of them is at the same position, and else for itself. What one
 * token opens is read by all tabs that ask for the same, so `whose` names whose it is.
 */
export function shared(whose: string, url: string, options: Options, end: AbortSignal): (way: Way) => Way {
  if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return (way) => way;
  const { resume, signal, onstate, lastEventId, token, ...query } = options;
  // What can be cloned: that there are tokens, not how to get one.
  const asked: any = { ...query, ...(token && { token: true }) };
  const name = `tailrace ${whose} ${url} ${JSON.stringify(asked)}`;
  const own = String(Math.random());
  const channel = new BroadcastChannel(name);
  end.addEventListener("abort", () => channel.close());
  const isNow = !query.from || query.from === "latest";

  let isWorker = false;
  try {
    isWorker = !!new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module", name });
  } catch {} // there are none, or it may not be loaded
  const untilEnd = () => new Promise<void>((resolve) => end.addEventListener("abort", () => resolve()));
  navigator.locks.request(`${name} tab`, { mode: "shared", signal: end }, untilEnd).catch(() => {});
  setTimeout(() => end.aborted || void lead(name, end), isWorker ? WORKER_MS : 0);

  let run: string | undefined; // that is followed
  let number = 0; // of the question
  let hear = (_: Message) => {};
  channel.onmessage = async ({ data }: MessageEvent<Message>) => {
    if (data.to && data.to !== own) return;
    if (data.wanted !== undefined && data.run && token) {
      const answer = await Promise.resolve(token()).catch(() => undefined);
      if (answer && !end.aborted) channel.postMessage({ wanted: data.wanted, token: answer });
    } else hear(data);
  };

  /** Whether the link goes on from its position with what the others get; if so, what `isDone` resolves with is how that ends. */
  const join = (link: Link, isDone: (error?: Error) => void) =>
    new Promise<boolean>((resolve) => {
      const mine = ++number;
      const timer = setTimeout(() => ((hear = () => {}), resolve(false)), ASK_MS);
      const stop = (error?: Error) => {
        run = undefined;
        hear = () => {};
        link.retry(Math.random() * REJOIN_MS);
        isDone(error);
      };
      hear = (message) => {
        if (!run) {
          if (message.number !== mine) return;
          clearTimeout(timer);
          if (message.join) run = message.run;
          else hear = () => {};
          resolve(!!run);
          if (!run) return;
        } else if (message.run && message.run !== run) return stop(new Error("another tab reads"));
        else if (message.run !== run) return;
        if (link.signal.aborted) return stop();
        if (message.state === "refused") return stop(new Refused(message.detail!));
        if (message.state === "open") link.opened();
        else if (message.state) link.enter(message.state, message.detail);
        // Silence is watched where it is open.
        if (message.state && message.state !== "open") link.rest();
        else link.alive();
        for (const sent of message.sent ?? []) link.take(...sent);
        const room = link.room();
        // This tab comes back from where it is, when it has done what it has.
        if (room) void room.then(() => stop(new Error("a slow tab")));
        if (room) hear = () => {};
      };
      channel.postMessage({ from: own, join: link.position(), number: mine, url, options: asked });
    });

  return (way) => (link) =>
    new Promise((resolve, reject) => {
      const isDone = (error?: Error) => (error ? reject(error) : resolve());
      link.signal.addEventListener("abort", () => resolve());
      const readAlone = () => {
        const alone = new AbortController();
        link.signal.addEventListener("abort", () => alone.abort());
        let held: Sent[] | undefined; // while the others are asked
        let timer: ReturnType<typeof setInterval> | undefined;
        const askOthers = async () => {
          held = [];
          if (await join(link, isDone)) return alone.abort();
          const due = held;
          held = undefined;
          for (const sent of due) take(...sent);
        };
        const take: Link["take"] = (type, data, id) => {
          if (alone.signal.aborted) return;
          if (held) return void held.push([type, data, id]);
          link.take(type, data, id);
          // From here on the others are where this tab is, or soon will be.
          if (type !== "tailrace.synced" || timer) return;
          timer = setInterval(() => held || void askOthers(), ASK_EVERY_MS);
          void askOthers();
        };
        alone.signal.addEventListener("abort", () => clearInterval(timer));
        const end = (error?: Error) => {
          clearInterval(timer);
          if (!alone.signal.aborted) isDone(error);
        };
        way({ ...link, signal: alone.signal, take }).then(() => end(), end);
      };
      if (!link.position() && !isNow) readAlone();
      else void join(link, isDone).then((isJoined) => isJoined || readAlone());
    });
}
