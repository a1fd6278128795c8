// Two event streams by node's fetch, which asks for gzip and decodes it by itself. Each comes back with its last id whenever it is cut;
// the data of the first one's records is printed.

import { setTimeout as sleep } from "node:timers/promises";

/** Before a stream comes back, in milliseconds. */
const PAUSE_MS = 50;

const [, , url] = process.argv;

async function read(state, take) {
  const headers = state.last === undefined ? {} : { "last-event-id": state.last };
  const answer = await fetch(url, { headers });
  if (answer.status !== 200) return;
  if (answer.headers.get("content-encoding") !== "gzip") throw new Error("it is not compressed");
  let pending = "";
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
    pending += text;
    const blocks = pending.split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      state.last = fields.id ?? state.last;
      if ("data" in fields && !("event" in fields)) take(fields.data);
    }
  }
}

async function follow(take) {
  for (const state = {}; ; ) {
    await read(state, take).catch((error) => console.error(error.message));
    await sleep(PAUSE_MS);
  }
}

follow(() => {});
follow((data) => console.log(data));
