// A server in the place of Tailrace, for what a real one does seldom: gaps, drains, records of every kind, hundreds of
// partitions, floods. It serves the files of web/assets under the same policy, and streams that resume by their ids.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { decodeId, fingerprint } from "../../web/assets/event-id.js";

const ASSETS = new URL("../../web/assets/", import.meta.url);
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css" };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEARTBEAT_MS = 5_000;

export class StandIn {
  /** What /console.json says. */
  suggested = { topics: [], tenants: [], boards: [], start: null };
  /** Refuses every request of a stream with this problem, unless it is null. */
  problem = null;
  /** Gives instead of an id what is no id of this version. */
  disguise = (id) => id;
  /** Whether heartbeats are left out. */
  isCalm = false;
  asked = []; // the addresses of requests for streams
  #logs; // topic -> its partitions, each a list of records
  #streams = new Set();
  #server;
  #port = 0;

  /** @param {Record<string, number>} topics  name -> number of partitions */
  constructor(topics) {
    this.#logs = new Map(Object.entries(topics).map(([topic, count]) => [topic, Array.from({ length: count }, () => [])]));
  }

  /** Begins to listen, again at the same address. Gives it. */
  async start() {
    this.#server = createServer((request, response) => this.#answer(request, response));
    await once(this.#server.listen(this.#port, "127.0.0.1"), "listening");
    this.#port = this.#server.address().port;
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Cuts all connections and listens no more. */
  async stop() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
    this.#streams.clear();
  }

  publish(topic, partition, { key = null, headers = {}, value = null, timestamp = Date.now(), ...more }) {
    const log = this.#logs.get(topic)[partition];
    const { type, ...rest } = more;
    log.push({ ...(type !== undefined && { type }), topic, partition, offset: log.length, timestamp, key, headers, value, ...rest });
    for (const stream of this.#streams) stream.wake();
  }

  /** Sends a control event to all streams. */
  tell(type, data) {
    for (const stream of this.#streams) stream.tell(type, data);
  }

  /** Ends all streams, as a proxy does that loses its server. */
  cutAll() {
    for (const { response } of this.#streams) response.destroy();
  }

  /** The id of a stream of these topics that has all of them. */
  newestId(topics) {
    return encodeId(new Map(topics.map((topic) => [topic, this.#logs.get(topic).map((log) => log.length)])));
  }

  async #answer(request, response) {
    const url = new URL(request.url, "http://stand-in/");
    const stream = /^(?:\/t\/([^/]+))?\/events$/.exec(url.pathname);
    if (stream) return this.#stream(url, request, response);
    if (/^(\/t\/[^/]+)?\/topics$/.test(url.pathname)) return json(response, { topics: this.#topics() });
    if (url.pathname === "/console.json") return json(response, this.suggested);
    const path = { "/": "console/index.html", "/tailrace.js": "tailrace.js" }[url.pathname] ?? /^\/assets\/(.*)/.exec(url.pathname)?.[1];
    const content = path && (await readFile(new URL(path, ASSETS)).catch(() => null));
    if (!content) return response.writeHead(404).end();
    const policy = path.endsWith(".html") && { "Content-Security-Policy": POLICY };
    response.writeHead(200, { "Content-Type": `${TYPES[path.split(".").at(-1)]}; charset=utf-8`, "Cache-Control": "no-store", ...policy });
    response.end(content);
  }

  #topics() {
    return [...this.#logs].map(([topic, partitions]) => ({
      topic,
      partitions: partitions.map((log, partition) => ({ partition, begin: 0, end: log.length })),
      types: [...new Set(partitions.flat().slice(-500).flatMap(({ type }) => type ?? []))].slice(0, 50),
      rate: partitions.flat().filter(({ timestamp }) => Date.now() - timestamp < 60_000).length / 60,
    }));
  }

  #stream(url, request, response) {
    this.asked.push(url);
    const problem = this.problem ?? refusal(url.searchParams, this.#logs);
    if (problem) return json(response, problem, problem.status, { "Content-Type": "application/problem+json", ...(problem.status === 503 && { "Retry-After": "1" }) });
    const id = request.headers["last-event-id"] ?? url.searchParams.get("last_event_id");
    const stream = new Stream(url.searchParams, id, this.#logs, response, this);
    this.#streams.add(stream);
    response.on("close", () => this.#streams.delete(stream) && stream.end());
  }
}

class Stream {
  response;
  #positions; // topic -> the next offsets
  #logs;
  #names;
  #types;
  #conditions;
  #named;
  #replayed = 0;
  #isSynced = false;
  #isWaking = false;
  #heartbeat;
  #server;

  constructor(params, id, logs, response, server) {
    this.response = response;
    this.#logs = logs;
    this.#server = server;
    this.#named = params.get("event") !== "none";
    this.#types = params.getAll("type");
    this.#conditions = params.getAll("where").map((condition) => /^(.*?)(!=|>=|=)(.*)$/.exec(condition).slice(1));
    this.#names = params.has("topic") ? params.getAll("topic") : [...logs.keys()];
    this.#positions = start(id || params.get("from") || "latest", this.#names, logs, (record) => this.#matches(record));
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(`retry: 500\nid: ${this.#id()}\n\n`);
    if (params.getAll("heartbeat").includes("event")) this.#heartbeat = setInterval(() => server.isCalm || this.tell("tailrace.heartbeat", {}), HEARTBEAT_MS);
    this.wake();
  }

  /** Sends what is new, soon: what comes within a few milliseconds, at once. */
  wake() {
    if (this.#isWaking) return;
    this.#isWaking = true;
    setTimeout(() => {
      this.#isWaking = false;
      this.#send();
    }, 5);
  }

  tell(type, data) {
    this.response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\nid: ${this.#id()}\n\n`);
  }

  end() {
    clearInterval(this.#heartbeat);
  }

  #send() {
    const text = [];
    for (const name of this.#names) {
      this.#logs.get(name).forEach((log, partition) => {
        const offsets = this.#positions.get(name);
        while (offsets[partition] < log.length) {
          const record = log[offsets[partition]++];
          if (!this.#matches(record)) continue;
          this.#replayed++;
          const { type, ...rest } = record;
          const event = this.#named ? (type === undefined ? "" : `event: ${type}\n`) : record.code ? "event: tailrace.undecodable\n" : "";
          text.push(`${event}data: ${JSON.stringify(this.#named ? rest : record)}\nid: ${this.#id()}\n\n`);
        }
      });
    }
    this.response.write(text.join(""));
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.tell("tailrace.synced", { replayed: this.#replayed });
  }

  #matches(record) {
    if (this.#types.length && !this.#types.includes(record.type ?? "message")) return false;
    return this.#conditions.every(([field, operator, text]) => {
      const value = field.split(".").reduce((at, name) => at?.[name], { ...record, header: record.headers });
      const wanted = text.replace(/\\(.)/g, "$1");
      return { "=": `${value}` === wanted, "!=": `${value}` !== wanted, ">=": value >= Number(wanted) }[operator];
    });
  }

  #id() {
    return this.#server.disguise(encodeId(this.#positions));
  }
}

function start(from, names, logs, matches) {
  const at = (offset) => new Map(names.map((name) => [name, logs.get(name).map((log) => offset(log))]));
  if (from === "latest") return at((log) => log.length);
  if (from === "earliest") return at(() => 0);
  if (/^-\d+$/.test(from)) {
    const all = names.flatMap((name) => logs.get(name).flat()).filter(matches).sort((a, b) => a.timestamp - b.timestamp);
    const first = all.slice(Number(from));
    return at((log) => first.find((record) => log.includes(record))?.offset ?? log.length);
  }
  const ago = /^-(\d+)m$/.exec(from);
  if (ago || /^\d{4}-/.test(from)) {
    const time = ago ? Date.now() - 60_000 * ago[1] : Date.parse(from);
    const before = (log) => log.findIndex(({ timestamp }) => timestamp >= time);
    return at((log) => (before(log) < 0 ? log.length : before(log)));
  }
  let parts = [];
  try {
    ({ parts } = decodeId(from));
  } catch {
    // An id of another kind: from now on.
  }
  const known = new Map(parts.map(({ name, offsets }) => [name, offsets]));
  return new Map(names.map((name) => [name, [...(known.get(fingerprint(name)) ?? logs.get(name).map((log) => log.length))]]));
}

function refusal(params, logs) {
  const problem = (status, code, title, more) => ({ type: `urn:tailrace:problem:${code}`, title, status, code, trace_id: "0", ...more });
  const unknown = params.getAll("topic").findIndex((topic) => !logs.has(topic));
  if (unknown >= 0) return problem(404, "unknown_topic", "Not a topic of this server", { parameter: "topic", index: unknown, detail: "it is not served" });
  const where = params.getAll("where");
  const double = where.findIndex((condition) => condition.includes("=="));
  if (double >= 0) return problem(400, "bad_parameter", "A parameter cannot be used", { parameter: "where", index: double, column: where[double].indexOf("==") + 2, detail: "an operator within a value" });
  return null;
}

function json(response, body, status = 200, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers });
  response.end(JSON.stringify(body));
}

/** As docs/protocol.md has it: positions are a map of names to next offsets. */
export function encodeId(positions) {
  const bytes = [1, 0x10, 0, 0];
  const varint = (number) => {
    for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
    bytes.push(number);
  };
  const hex = (text) => bytes.push(...Buffer.from(text, "hex"));
  varint(positions.size);
  for (const [name, offsets] of positions) {
    hex(fingerprint(name));
    hex("00000a");
    varint(offsets.length);
    offsets.forEach((offset) => varint(offset + 1));
  }
  varint(3);
  let sum = 0xffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >> 1) ^ 0x8408 : sum >> 1;
  }
  sum ^= 0xffff;
  return Buffer.from([...bytes, sum >> 8, sum & 255]).toString("base64url");
}
