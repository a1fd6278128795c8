// A page whose tokens last a few seconds, beside one whose token lasts: both get the same records, and no stream of the first
// ends with its token. Prints a line of JSON with what was seen.

import { createHmac } from "node:crypto";
import { openConsole } from "./page.mjs";

/** tests/console.rs gives the same to the server. */
const SECRET = "a secret that is long enough for HS256";
/** How long the short tokens last, in seconds; the server gives notice 3 s before. */
const SHORT = 6;
const WATCHED_MS = 10_000;

const base64 = (text) => Buffer.from(text).toString("base64url");

function issue(seconds) {
  const claims = { tenant_id: "acme", scope: "event:read:acme", exp: Math.floor(Date.now() / 1000) + seconds };
  const unsigned = `${base64(JSON.stringify({ alg: "HS256", typ: "JWT" }))}.${base64(JSON.stringify(claims))}`;
  return `${unsigned}.${createHmac("sha256", SECRET).update(unsigned).digest("base64url")}`;
}

const { browser, page, complaints } = await openConsole();
await page.exposeFunction("issue", issue);
const seen = await page.evaluate(
  async ([short, watched]) => {
    const { Tailrace } = await import("/tailrace.js");
    const follow = (seconds) => {
      const [heard, states] = [[], []];
      let issued = 0;
      const stream = new Tailrace("/t/acme/events", {
        envelope: "record",
        topics: ["orders"],
        token: () => (issued++, globalThis.issue(seconds)),
        onstate: (state, detail) => states.push(detail?.reason ?? state),
      });
      const types = ["message", "order.created", "order.paid", "order.packed", "order.shipped", "order.delivered", "order.cancelled"];
      stream.on(...types, ({ data }) => heard.push(JSON.parse(data)));
      return { stream, heard, states, issued: () => issued };
    };
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const lasting = follow(600);
    await pause(1_000);
    const renewed = follow(short);
    await pause(watched);
    renewed.stream.close();
    await pause(1_000);
    lasting.stream.close();
    const offsets = ({ heard }, partition) => heard.filter((record) => record.partition === partition).map(({ offset }) => offset);
    const partitions = [...new Set(renewed.heard.map(({ partition }) => partition))];
    const isSame = (partition) => {
      const mine = offsets(renewed, partition);
      const theirs = offsets(lasting, partition).filter((offset) => offset >= mine[0] && offset <= mine.at(-1));
      return mine.join() === theirs.join();
    };
    return { same: partitions.length > 0 && partitions.every(isSame), issued: renewed.issued(), states: [...new Set(renewed.states)] };
  },
  [SHORT, WATCHED_MS],
);
await browser.close();
console.log(JSON.stringify({ ...seen, complaints }));
