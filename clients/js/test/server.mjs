// A server of one topic with one partition, which speaks the protocol, and fails as it is told to.

import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

export class Server {
  /** What was written: `{ type, data }`; a position is an index. */
  log = [];
  /** The addresses that were asked for, in order. */
  asked = [];
  /** Answers in place of the usual ones: functions of request and response, one for each request. */
  answers = [];
  /** What requests of a route get, if it does not work: "silent", "refused". */
  broken = {};
  /** After how many bytes responses are cut, one after the other. */
  cuts = [];
  /** Streams that are open. */
  open = 0;
  /** Of a page. */
  limit = 100;
  #waiting = new Set();
  #http = createServer((request, response) => this.#answer(request, response));
  #sockets = new WebSocketServer({ noServer: true, handleProtocols: (protocols) => protocols.has("bearer") && "bearer" });

  static async start() {
    const server = new Server();
    server.#http.on("upgrade", (request, socket, head) => server.#upgrade(request, socket, head));
    await once(server.#http.listen(0, "127.0.0.1"), "listening");
    server.url = `http://127.0.0.1:${server.#http.address().port}/t/acme/events`;
    return server;
  }

  async stop() {
    this.#http.closeAllConnections();
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#http.close();
  }

  write(...records) {
    this.log.push(...records.map((record) => (typeof record === "object" ? record : { data: String(record) })));
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when there is something new, or the time is over. */
  #news(ms) {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }

  #parameters(request) {
    const { pathname, searchParams } = new URL(request.url, "http://server");
    const route = pathname.split("/").at(-1);
    this.asked.push({ route, authorization: request.headers.authorization, query: searchParams });
    const id = searchParams.get("last_event_id") ?? searchParams.get("from");
    const at = id === null || id === "latest" ? this.log.length : id === "earliest" ? 0 : Number(id);
    return { route, at, heartbeat: parseInt(searchParams.getAll("heartbeat").at(-1) ?? "15000"), query: searchParams };
  }

  #answer(request, response) {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "Authorization");
    if (request.method === "OPTIONS") return response.end();
    const { route, at, heartbeat, query } = this.#parameters(request);
    const scripted = this.answers.shift();
    if (scripted) return scripted(request, response);
    if (this.broken[route] === "silent") return response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
    if (route === "records") return this.#page(response, at, query);
    return this.#stream(response, at, heartbeat);
  }

  async #stream(response, at, heartbeat) {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    this.open++;
    response.on("close", () => this.open--);
    const write = this.#cutter(response);
    write(`retry: 20\nid: ${at}\n\n`);
    let isSynced = false;
    for (let next = at; !response.destroyed; ) {
      for (; next < this.log.length; next++) {
        const { type, data } = this.log[next];
        write(`${type ? `event: ${type}\n` : ""}${data.split("\n").map((line) => `data: ${line}\n`).join("")}id: ${next + 1}\n\n`);
      }
      if (!isSynced) write('event: tailrace.synced\ndata: {"replayed":0}\n\n');
      isSynced = true;
      await this.#news(heartbeat);
      if (next === this.log.length) write('event: tailrace.heartbeat\ndata: {"time":0}\n\n');
    }
  }

  /** Writes, until as many bytes are written as the next cut allows. */
  #cutter(response) {
    let left = this.cuts.shift() ?? Infinity;
    return (text) => {
      if (response.destroyed) return;
      response.write(text.slice(0, left));
      left -= text.length;
      if (left <= 0) setTimeout(() => response.destroy(), 5); // what was written is sent before
    };
  }

  async #page(response, at, query) {
    if (at === this.log.length) await this.#news(parseInt(query.get("wait")));
    const limit = this.limit;
    const records = this.log.slice(at, at + limit).map(({ type, data, ...rest }, index) => {
      let value = data;
      try {
        value = JSON.parse(data);
      } catch {}
      return { ...(type && { type }), topic: "orders", partition: 0, offset: at + index, value, ...rest };
    });
    const next = at + records.length;
    const body = JSON.stringify({ records, ...(next < this.log.length && { more: true }), next: String(next) });
    response.writeHead(200, { "Content-Type": "application/json" });
    this.#cutter(response)(body);
    response.end();
  }

  #upgrade(request, socket, head) {
    const { at, heartbeat } = this.#parameters(request);
    if (this.broken.ws === "refused") return socket.destroy();
    this.#sockets.handleUpgrade(request, socket, head, async (ws) => {
      if (this.broken.ws === "silent") return;
      let left = this.cuts.shift() ?? Infinity;
      const send = (message) => {
        ws.send(JSON.stringify(message));
        left -= JSON.stringify(message).length;
        if (left <= 0) socket.end();
      };
      send({ id: String(at), retry: 20 });
      for (let next = at; ws.readyState === ws.OPEN; ) {
        for (; next < this.log.length && ws.readyState === ws.OPEN && left > 0; next++) {
          const { type, data } = this.log[next];
          let value = data;
          try {
            value = JSON.parse(data);
          } catch {}
          send({ ...(type && { event: type }), id: String(next + 1), data: value });
        }
        if (next === at) send({ event: "tailrace.synced", data: { replayed: 0 } });
        await this.#news(heartbeat);
        if (next === this.log.length) send({ event: "tailrace.heartbeat", data: { time: 0 } });
      }
    });
  }
}

/** Resolves once the condition holds. */
export async function until(condition, what = condition.toString(), ms = 8_000) {
  for (const end = Date.now() + ms; !condition(); ) {
    if (Date.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
