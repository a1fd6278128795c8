// The package in Node, against a scripted server.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Refused, Tailrace } from "tailrace";
import WS from "ws";
import { Server, until } from "./server.mjs";

globalThis.WebSocket ??= WS;

/** After how many bytes of a connection it is cut: before the first event, in it, at its end, later. */
const CUTS = [1, 30, 200, 207, 213, 250, 400];

let server;
let streams;
let states;
beforeEach(async () => {
  server = await Server.start();
  [streams, states] = [[], []];
});
afterEach(async () => {
  for (const stream of streams) stream.close();
  await server.stop();
  mock.restoreAll();
});

function open(options) {
  const stream = new Tailrace(server.url, { onstate: (state, detail) => states.push([state, detail]), ...options });
  streams.push(stream);
  return stream;
}

/** Opens, and keeps the data of every record. */
function follow(options) {
  const got = [];
  const stream = open({ from: "earliest", ...options });
  stream.on("*", (event) => got.push(event.data));
  return { stream, got };
}

const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));
const reasons = () => states.filter(([state]) => state === "waiting").map(([, detail]) => detail.reason);
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const problem = (status, headers = {}) => (_, response) =>
  response.writeHead(status, { "Content-Type": "application/problem+json", ...headers }).end(JSON.stringify({ title: "No", code: "no" }));

for (const transport of ["sse", "websocket", "pages"]) {
  test(`${transport}: each record comes once, in order, over cuts at any byte`, async () => {
    server.cuts = [...CUTS];
    server.limit = 3;
    const { got } = follow({ transports: [transport] });
    for (const number of numbers(300)) {
      server.write(number);
      if (number % 10 === 0) await later(2);
    }
    await until(() => got.length >= 300, `300 records of ${transport}`, 20_000);
    await later(50);
    assert.deepEqual(got, numbers(300));
    assert.equal(server.cuts.length, 0, "all cuts were made");
  });

  test(`${transport}: types, JSON and text come as they are`, async () => {
    const records = [{ type: "order.paid", data: '{"total":17}' }, { data: "plain" }, { type: "note", data: "[1]" }];
    const heard = [];
    const stream = open({ from: "earliest", transports: [transport] });
    stream.on("*", ({ type, data }) => heard.push({ type, data }));
    const named = [];
    stream.on("order.paid", (event) => named.push(event.json().total));
    stream.on("message", (event) => named.push(event.data));
    server.write(...records);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [records[0], { type: "message", data: "plain" }, records[2]]);
    assert.deepEqual(named, [17, "plain"]);
  });

  test(`${transport}: the token goes with each connection, and in no address`, async () => {
    let issued = 0;
    const { stream, got } = follow({ transports: [transport], token: async () => `t${++issued}` });
    server.write("0");
    await until(() => got.length === 1);
    stream.cut();
    server.write("1");
    await until(() => got.length === 2);
    assert.equal(issued, 2);
    assert.ok(server.asked.every(({ query }) => !query.toString().includes("t1")));
    if (transport !== "websocket") assert.equal(server.asked[0].authorization, "Bearer t1");
  });
}

test("handlers get their types only, from when they are added until they are taken away", async () => {
  const { stream } = follow();
  const [early, late] = [[], []];
  const off = stream.on("a", "b", (event) => early.push(event.data));
  server.write({ type: "a", data: "1" }, { type: "b", data: "2" }, { type: "c", data: "3" });
  await until(() => early.length === 2);
  stream.on("c", (event) => late.push(event.data));
  off();
  server.write({ type: "a", data: "4" }, { type: "c", data: "5" });
  await until(() => late.length === 1, "a record", 9_000);
  assert.deepEqual([early, late], [["1", "2"], ["5"]]);
});

test("control events are no records, and records without a bare value are", async () => {
  const heard = [];
  const stream = open({ from: "earliest" });
  stream.on("*", ({ type }) => heard.push(type));
  stream.on("tailrace.gap", ({ type }) => heard.push(type));
  server.write({ type: "tailrace.gap", data: "{}" }, { type: "tailrace.tombstone", data: "{}" }, { type: "tailrace.left", data: "{}" }, "1");
  await until(() => heard.length === 3);
  assert.deepEqual(heard, ["tailrace.gap", "tailrace.tombstone", "message"]);
});

test("onTopic gives the records of a topic, and asks for the envelope that names it", async () => {
  assert.throws(() => open().onTopic("orders", () => {}), /envelope/);
  const totals = [];
  const stream = open({ from: "earliest", envelope: "record" });
  stream.onTopic("orders", (record, event) => totals.push([record.value.total, event.type]));
  server.write(
    { type: "paid", data: '{"topic":"orders","value":{"total":3}}' },
    { data: '{"topic":"other","value":{"total":4}}' },
    { type: "tailrace.undecodable", data: '{"topic":"orders","value":{"base64":""}}' },
    { data: '{"topic":"orders","value":{"total":5}}' },
  );
  await until(() => totals.length === 2);
  assert.deepEqual(totals, [[3, "paid"], [5, "message"]]);
});

test("a handler that throws keeps no other from its event, and is reported", async () => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const { stream, got } = follow();
  stream.on("message", () => { throw new Error("one"); });
  stream.on("message", async () => { throw new Error("two"); });
  const after = [];
  stream.on("message", (event) => after.push(event.data));
  server.write("0", "1");
  await until(() => after.length === 2);
  await later(1);
  assert.deepEqual([got, reported.sort()], [["0", "1"], ["one", "one", "two", "two"]]);
  delete globalThis.reportError;
});

test("what a handler closes or cuts ends at that event, also in the middle of what came with it", async () => {
  const got = [];
  const stream = open({ from: "earliest" });
  stream.on("message", (event) => {
    got.push(event.data);
    if (got.length === 2) stream.cut();
    if (got.length === 4) stream.close();
  });
  server.write(...numbers(9));
  await until(() => stream.state === "closed");
  await later(50);
  assert.deepEqual(got, ["0", "1", "2", "3"]);
  assert.equal(stream.lastEventId, "4");
});

test("closing twice, cutting what is closed, and a signal that was aborted before", async () => {
  const aborted = open({ signal: AbortSignal.abort() });
  assert.equal(aborted.state, "closed");
  const end = new AbortController();
  const stream = open({ signal: end.signal });
  await until(() => stream.state === "open");
  end.abort();
  stream.close();
  stream.cut();
  aborted.cut();
  await later(50);
  assert.equal(stream.state, "closed");
  assert.equal(server.asked.length, 1);
  assert.deepEqual(states.map(([state]) => state), ["connecting", "open", "closed"]);
});

test("statuses that cannot change are final, and say why", async () => {
  for (const status of [204, 400, 403, 404, 405, 414]) {
    states = [];
    server.answers = [status === 204 ? (_, response) => response.writeHead(204).end() : problem(status)];
    const stream = open();
    await until(() => stream.state === "refused");
    assert.equal(states.at(-1)[1].status, status);
    if (status !== 204) assert.equal(states.at(-1)[1].title, "No");
    stream.close();
    assert.equal(stream.state, "refused");
  }
});

test("a proxy's 502, a portal's page, an answer that is cut, and a server that is not there are tried again", async () => {
  server.answers = [
    (_, response) => response.writeHead(502).end("<html>"),
    (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<html>"),
    (request) => request.socket.destroy(),
    problem(401),
  ];
  const { got } = follow();
  server.write("0");
  await until(() => got.length === 1, "a record", 20_000);
  assert.deepEqual(reasons(), ["status 502", "no text/event-stream", "unreachable", "No"]);
});

test("Retry-After is kept to, up to an hour, and then the stream goes on", async () => {
  server.answers = [problem(429, { "Retry-After": "1" }), problem(503, { "Retry-After": "99999999" })];
  const { stream, got } = follow();
  server.write("0");
  const begin = Date.now();
  await until(() => server.asked.length === 2);
  assert.ok(Date.now() - begin >= 990, "after a second");
  await until(() => stream.state === "waiting");
  // A timer of more than 24 days would end at once.
  await later(100);
  assert.equal(server.asked.length, 2);
  stream.cut();
  await until(() => got.length === 1);
});

test("a token that cannot be had is asked for again", async () => {
  let calls = 0;
  const { got } = follow({
    token() {
      calls++;
      if (calls === 1) throw new Error("no session");
      if (calls === 2) return Promise.reject("gone");
      return "t";
    },
  });
  server.write("0");
  await until(() => got.length === 1);
  assert.deepEqual(reasons(), ["no token: no session", "no token: gone"]);
});

test("a token that does not come is given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const stream = open({ token: () => new Promise(() => {}) });
  for (let turn = 0; turn < 10; turn++) await null;
  mock.timers.tick(30_000);
  mock.timers.reset();
  await until(() => stream.state === "waiting");
  assert.deepEqual(reasons(), ["no token: it takes too long"]);
});

test("a token is renewed before it expires, and nothing comes twice", async () => {
  let issued = 0;
  const { got } = follow({ token: () => `t${Math.min(++issued, 2)}` });
  const expiring = { type: "tailrace.status", data: '{"code":"token_expiring"}' };
  server.write("0", expiring, "1", expiring, "2");
  await until(() => got.length === 3);
  await later(100);
  assert.deepEqual(got, numbers(3));
  assert.deepEqual(server.asked.map(({ authorization }) => authorization), ["Bearer t1", "Bearer t2"]);
});

test("the server's reason is the reason for the wait", async () => {
  server.answers = [
    (_, response) =>
      response.writeHead(200, { "Content-Type": "text/event-stream" }).end('retry: 30\nid: 0\n\nevent: tailrace.drain\ndata: {"code":"draining"}\n\n'),
  ];
  const { got } = follow();
  server.write("0");
  await until(() => got.length === 1);
  assert.deepEqual(reasons(), ["draining"]);
  assert.equal(states.find(([state]) => state === "waiting")[1].delay, 30);
});

test("an id that the server cannot read is a gap, and its new id is gone on from", async () => {
  server.answers = [
    (_, response) =>
      response.writeHead(200, { "Content-Type": "text/event-stream" }).end('retry: 10\nid: 1\n\nevent: tailrace.gap\ndata: {"code":"unknown_id"}\nid: 1\n\n'),
  ];
  const { stream, got } = follow({ lastEventId: "nonsense" });
  const gaps = [];
  stream.on("tailrace.gap", (event) => gaps.push(event.json().code));
  server.write("0", "1");
  await until(() => got.length === 1);
  assert.deepEqual([gaps, got, server.asked[1].query.get("last_event_id")], [["unknown_id"], ["1"], "1"]);
});

test("where streams are silent, a WebSocket is tried, then pages, from the same position", async () => {
  const { stream, got } = follow({ heartbeat: 100 });
  server.write("0");
  await until(() => got.length === 1);
  server.broken = { events: "silent", ws: "silent" };
  stream.cut();
  server.write("1");
  await until(() => got.length === 2, "a page");
  assert.equal(stream.transport, "pages");
  assert.deepEqual([...new Set(server.asked.map(({ route }) => route))], ["events", "ws", "records"]);
  assert.equal(server.asked.filter(({ route }) => route === "events").length, 3);
  assert.deepEqual(got, ["0", "1"]);
});

test("where only WebSockets pass, one is used; where they do not, pages", async () => {
  for (const [ws, transport] of [[undefined, "websocket"], ["refused", "pages"]]) {
    server.broken = { events: "silent", ws };
    server.log = [];
    const { stream, got } = follow({ heartbeat: 100 });
    server.write("0");
    await until(() => got.length === 1, transport, 15_000);
    assert.equal(stream.transport, transport);
    stream.close();
  }
});

test("a stream that is begun and then held back is silent, too", async () => {
  const begun = (_, response) => response.writeHead(200, { "Content-Type": "text/event-stream" }).write("retry: 10\nid: 0\n\n");
  server.answers = [begun, begun];
  const { stream, got } = follow({ heartbeat: 100 });
  server.write("0");
  await until(() => got.length === 1);
  assert.equal(stream.transport, "websocket");
});

test("a server that is not there for a while does not change the transport", async () => {
  const { stream, got } = follow();
  server.write("0");
  await until(() => got.length === 1);
  server.answers = Array(3).fill((request) => request.socket.destroy());
  stream.cut();
  server.write("1");
  await until(() => got.length === 2, "a record", 15_000);
  assert.equal(stream.transport, "sse");
});

test("snapshots and what is conflated have no pages, and another route has nothing else", async () => {
  for (const options of [{ from: "snapshot" }, { conflate: "key" }]) {
    assert.deepEqual(open({ transports: ["pages", "websocket"], ...options }).transport, "websocket");
  }
  const stream = new Tailrace(server.url.replace("/events", "/mine"), { transports: ["pages", "sse"] });
  assert.equal(stream.transport, "sse");
  stream.close();
});

test("after a silent death the heartbeat is shorter, and longer again when all is calm", async () => {
  const heartbeats = () => server.asked.map(({ query }) => query.getAll("heartbeat").at(-1));
  server.broken = { events: "silent" };
  const { stream } = follow({ heartbeat: 6_000, transports: ["sse"] });
  mock.timers.enable({ apis: ["setTimeout"] });
  stream.cut(); // its timers are the mocked ones from here on
  mock.timers.tick(1);
  for (let turn = 0; turn < 20; turn++) await null;
  server.broken = {};
  mock.timers.tick(10_000);
  mock.timers.tick(15_000);
  mock.timers.reset();
  await until(() => stream.state === "open");
  assert.equal(heartbeats().at(-1), "2000ms");
  const { now } = performance;
  mock.method(performance, "now", () => now.call(performance) + 300_001);
  server.write("1");
  await until(() => heartbeats().at(-1) === "6000ms");
});

test("0 watches no heartbeat", async () => {
  server.broken = { events: "silent" };
  const { stream } = follow({ heartbeat: 0 });
  await until(() => stream.state === "open");
  assert.equal(server.asked[0].query.get("heartbeat"), null);
});

test("an iterator gets records and what stands between them", async () => {
  server.write({ type: "a", data: "1" }, { type: "tailrace.gap", data: "{}" }, { type: "tailrace.heartbeat", data: "{}" }, "2");
  const got = [];
  for await (const event of open({ from: "earliest" })) {
    got.push(event.type);
    if (event.data === "2") break;
  }
  assert.deepEqual(got, ["a", "tailrace.gap", "message"]);
  assert.equal(streams[0].state, "closed");
});

test("a slow iterator holds the stream back, and gets everything", async () => {
  const count = 30_000;
  server.write(...numbers(count).map((number) => number.padStart(200, " ")));
  const stream = open({ from: "earliest" });
  let received = 0;
  stream.on("*", () => received++);
  let next = 0;
  for await (const event of stream) {
    assert.equal(Number(event.data), next++);
    if (next === 10) {
      assert.equal(Number(stream.lastEventId), 10);
      await later(300);
      assert.ok(received < 5_000, `${received} were read ahead`);
    }
    if (next === count) break;
  }
  assert.equal(server.asked.length, 1);
});

for (const transport of ["websocket", "pages"]) {
  test(`${transport}: a slow iterator gets everything, too`, async () => {
    const count = 3_000;
    server.write(...numbers(count));
    let next = 0;
    for await (const event of open({ from: "earliest", transports: [transport] })) {
      if (event.type === "tailrace.synced") continue;
      assert.equal(Number(event.data), next++);
      if (next === 10) await later(300);
      if (next === count) break;
    }
  });
}

test("a refusal is thrown out of the loop, and closing ends it", async () => {
  server.answers = [problem(403)];
  await assert.rejects(async () => { for await (const _ of open()); }, (error) => error instanceof Refused && error.problem.status === 403);
  const stream = open();
  setTimeout(() => stream.close(), 50);
  for await (const _ of stream);
  assert.equal(stream.state, "closed");
});

test("two iterators get everything each, and one that is abandoned holds the stream rather than lose", async () => {
  const stream = open({ from: "earliest" });
  const abandoned = stream[Symbol.asyncIterator]();
  void abandoned.next();
  let got = 0;
  stream.on("*", () => got++);
  server.write(...numbers(20_000).map((number) => number.padStart(200, " ")));
  await until(() => got >= 1_000);
  await later(100);
  const held = got;
  assert.ok(held < 5_000, `${held}`);
  assert.equal(Number(stream.lastEventId), 1);
  await abandoned.return();
  assert.equal(stream.state, "closed");
});

test("what is stored is never ahead of a handler, nor after each event", async () => {
  const saved = [];
  const resume = { load: async () => undefined, save: async (id) => saved.push(id) };
  const stream = open({ from: "earliest", resume });
  const finish = [];
  stream.on("message", () => new Promise((resolve) => finish.push(resolve)));
  server.write("0", "1", "2");
  await until(() => finish.length === 3);
  finish[1]();
  finish[2]();
  await later(1_200);
  assert.deepEqual(saved, ["0"]); // where it began
  finish[0]();
  await until(() => saved.at(-1) === "3");
  server.write("3");
  await until(() => finish.length === 4);
  await stream.close();
  assert.deepEqual(saved, ["0", "3"]);
});

test("a loop that is left by break has not finished its event, one that closes has", async () => {
  for (const [leave, expected] of [["break", "1"], ["close", "2"]]) {
    let stored;
    const resume = { load: async () => undefined, save: async (id) => { stored = id; } };
    server.log = [];
    server.write("0", "1", "2");
    const stream = open({ from: "earliest", resume });
    for await (const event of stream) {
      if (event.data !== "1") continue;
      if (leave === "break") break;
      stream.close();
    }
    assert.equal(stored, expected, leave);
  }
});

test("a stored position is gone on from; one that is given comes before it", async () => {
  server.write(...numbers(5));
  const resume = { load: async () => "3", save: async () => {} };
  const { got } = follow({ resume });
  await until(() => got.length === 2);
  const { got: given } = follow({ resume, lastEventId: "4" });
  await until(() => given.length === 1);
  assert.deepEqual([got, given], [["3", "4"], ["4"]]);
});

test("a store that is forbidden, full or hangs does not stop the stream", async () => {
  const warn = mock.method(console, "warn", () => {});
  const forbidden = () => Promise.reject(new Error("forbidden"));
  const { got, stream } = follow({ resume: { load: forbidden, save: forbidden } });
  server.write("0");
  await until(() => got.length === 1);
  await stream.close();
  assert.equal(warn.mock.callCount(), 1);
  const full = () => Promise.reject(new Error("full"));
  const { got: unsaved, stream: other } = follow({ resume: { load: async () => undefined, save: full } });
  await until(() => unsaved.length === 1);
  await other.close();
  assert.equal(warn.mock.callCount(), 2);
  const { got: late } = follow({ resume: { load: () => new Promise(() => {}), save: async () => {} } });
  await until(() => late.length === 1, "a record", 9_000);
});

test("a store that is slow gets one position after the other, the newest last", async () => {
  const begun = [];
  const ends = [];
  const resume = { load: async () => undefined, save: (id) => new Promise((resolve) => (begun.push(id), ends.push(resolve))) };
  const { stream } = follow({ resume });
  server.write("0");
  await until(() => begun.length === 1);
  server.write("1", "2");
  await later(1_300);
  assert.equal(begun.length, 1);
  let isClosed = false;
  const closed = stream.close().then(() => (isClosed = true));
  ends[0]();
  await until(() => begun.length === 2);
  await later(20);
  assert.equal(isClosed, false, "closing waits for what it stores");
  ends[1]();
  await closed;
  assert.equal(begun[1], "3");
});
