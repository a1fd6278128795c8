import { useEffect, useRef, useState } from "react";
import { type Detail, type Options, type State, Tailrace, type TailraceEvent } from "./index.js";

export interface Reading<Value> {
  value: Value;
  state: State;
  detail?: Detail | undefined;
  /** The stream: for `cut()`, `lastEventId`, further handlers. */
  stream?: Tailrace | undefined;
}

/**
 * What `reduce` makes of all events: every record, and `tailrace.gap`, `tailrace.left` and `tailrace.synced` between them.
 * Another address or other options (functions aside) open another stream, and begin with `initial`; null opens none.
 */
export function useTailrace<Value>(
  url: string | URL | null,
  options: Options,
  reduce: (value: Value, event: TailraceEvent<any>) => Value,
  initial: Value,
): Reading<Value> {
  const [reading, setReading] = useState<Reading<Value>>({ value: initial, state: "idle" });
  // Those of the newest render: a function that is written in place is another one each time.
  const latest = useRef({ options, reduce, initial });
  latest.current = { options, reduce, initial };
  const { resume, signal, ...plain } = options;
  const key = JSON.stringify([url, plain, typeof resume === "string" && resume]);

  useEffect(() => {
    if (url === null) return;
    const { options, initial } = latest.current;
    let now: Reading<Value> = { value: initial, state: "idle" };
    let isDue = false;
    const change = (change: Partial<Reading<Value>>) => {
      now = { ...now, ...change };
      if (isDue) return;
      isDue = true;
      // One render for all events that come together.
      queueMicrotask(() => {
        isDue = false;
        setReading(now);
      });
    };
    const token = options.token && (() => latest.current.options.token?.());
    const stream = new Tailrace(url, {
      ...options,
      ...(token && { token }),
      onstate(state, detail) {
        change({ state, detail });
        latest.current.options.onstate?.(state, detail);
      },
    });
    const handle = (event: TailraceEvent<any>) => change({ value: latest.current.reduce(now.value, event) });
    stream.on("*", "tailrace.gap", "tailrace.left", "tailrace.synced", handle);
    change({ stream });
    return () => void stream.close();
  }, [key]);
  return reading;
}
