// What goes wrong in browsers, against a scripted server. Prints "done" when all is as it should be, else fails.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../../../../tests/browser/page.mjs";
import { Server, until } from "../server.mjs";
import { startSite } from "./site.mjs";

const kind = process.argv[4];
const PATIENCE_MS = 30_000;

const site = await startSite({
  page: `
    import { Tailrace } from "/dist/index.js";
    window.got = [];
    window.states = [];
    window.tokens = 0;
    window.open = (url, { token, ...options } = {}) => {
      window.stream = new Tailrace(url, {
        from: "earliest",
        onstate: (state, detail) => states.push(detail?.status ? state + " " + detail.status : state),
        ...options,
        ...(token && { token: () => token + ++tokens }),
      });
      stream.on("*", (event) => got.push(event.data));
    };`,
});
const browser = await launch();

/** Firefox opens one page after the other. */
let opened = Promise.resolve();
function newPage(context) {
  const page = opened.then(() => context.newPage());
  opened = page.catch(() => {});
  return page;
}

/** A page of a context, with a stream of the server's. */
async function openTab(context, server, options) {
  const page = await newPage(context);
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  await page.goto(`${site}/page`);
  await page.waitForFunction(() => "got" in window);
  await page.evaluate(([url, options]) => open(url, options), [server.url, options]);
  return page;
}

const hears = (page, ...all) => page.waitForFunction((all) => got.join() === all, all.join());
const enters = (page, state) => page.waitForFunction((state) => states.includes(state), state);
const streams = (server) => server.asked.filter(({ route }) => route === "events");

const troubles = {
  async "tabs share a connection and a token, and one that joins later has what was before"(context, server) {
    const first = await openTab(context, server, { share: true, token: "t" });
    server.write("0");
    await hears(first, "0");
    const second = await openTab(context, server, { share: true, token: "t" });
    await hears(second, "0");
    server.write("1", "2");
    await hears(first, "0", "1", "2");
    await hears(second, "0", "1", "2");
    // All read alone until they have caught up; then there is one connection.
    await until(() => server.open === 1, "one connection", PATIENCE_MS);
    for (const number of ["3", "4"]) server.write(number);
    await hears(first, "0", "1", "2", "3", "4");
    await hears(second, "0", "1", "2", "3", "4");
    assert.ok(streams(server).every(({ authorization }) => /^Bearer t\d$/.test(authorization)));
    await first.evaluate(() => void stream.close());
    server.write("5");
    await hears(second, "0", "1", "2", "3", "4", "5");
    await second.evaluate(() => void stream.close());
    await until(() => server.open === 0, "no connection", PATIENCE_MS);
  },

  async "where tabs are refused, each says so"(context, server) {
    server.answers = Array(9).fill((_, response) => response.writeHead(403).end());
    for (const _ of [1, 2]) await enters(await openTab(context, server, { share: true, from: "latest" }), "refused 403");
  },

  async "tabs of different users share nothing"(context, server) {
    const tabs = [await openTab(context, server, { share: "a", token: "a" }), await openTab(context, server, { share: "b", token: "b" })];
    server.write("0");
    for (const tab of tabs) await hears(tab, "0");
    await sleep(2_500); // until they would have joined
    server.write("1");
    for (const tab of tabs) await hears(tab, "0", "1");
    assert.equal(server.open, 2);
    for (const user of ["a", "b"]) assert.ok(streams(server).some(({ authorization }) => authorization.startsWith(`Bearer ${user}`)));
  },

  async "a worker that cannot be loaded is done without"(context, server) {
    await context.route("**/worker.js", (route) => route.abort());
    const tabs = [await openTab(context, server, { share: true }), await openTab(context, server, { share: true })];
    server.write("0");
    for (const tab of tabs) await hears(tab, "0");
    await sleep(1_500); // until a tab reads for all
    for (const number of ["1", "2", "3"]) {
      server.write(number);
      await sleep(1_100);
    }
    for (const tab of tabs) await hears(tab, "0", "1", "2", "3");
    await until(() => server.open === 1, "one connection", PATIENCE_MS);
  },

  async "a worker that dies is followed by a tab"(context, server) {
    if (kind !== "chromium") return; // no other lets it be killed
    const tabs = [await openTab(context, server, { share: true, from: "latest" }), await openTab(context, server, { share: true, from: "latest" })];
    for (const tab of tabs) await enters(tab, "open");
    await until(() => server.open === 1, "one connection", PATIENCE_MS);
    server.write("0");
    for (const tab of tabs) await hears(tab, "0");
    await sleep(1_500); // until tabs wait for the lock
    const devtools = await browser.newBrowserCDPSession();
    const { targetInfos } = await devtools.send("Target.getTargets");
    const [worker] = targetInfos.filter(({ type }) => type === "shared_worker");
    await devtools.send("Target.closeTarget", { targetId: worker.targetId });
    server.write("1");
    for (const tab of tabs) await hears(tab, "0", "1");
    server.write("2");
    for (const tab of tabs) await hears(tab, "0", "1", "2");
    await until(() => server.open === 1, "one connection", PATIENCE_MS);
  },

  async "without IndexedDB, and where it may not be opened, the stream goes on"(context, server) {
    server.write("0");
    for (const forbid of [
      () => Object.defineProperty(globalThis, "indexedDB", { value: undefined }),
      () => (IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); }),
    ]) {
      const own = await browser.newContext();
      await own.addInitScript(forbid);
      await hears(await openTab(own, server, { resume: "name" }), "0");
      await own.close();
    }
  },

  async "a page that dies in its first second goes on where it was"(context, server) {
    // Nothing happens later in it, and nothing when it is left.
    await context.addInitScript(() => {
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (call, ms, ...rest) => (ms < 500 ? setTimeout(call, ms, ...rest) : 0);
      addEventListener("pagehide", (event) => event.stopImmediatePropagation());
    });
    const options = { resume: "name", from: "latest" };
    const first = await openTab(context, server, options);
    await enters(first, "open");
    await first.waitForFunction(async () => {
      const result = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      const database = await result(indexedDB.open("tailrace"));
      const stored = await result(database.transaction("positions").objectStore("positions").get("name"));
      database.close();
      return stored !== undefined;
    });
    await first.close();
    server.write("0");
    await hears(await openTab(context, server, options), "0");
  },

  async "a page that is restored goes on where it was"(context, server) {
    const page = await openTab(context, server, {});
    server.write("0");
    await hears(page, "0");
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
    await until(() => server.open === 0, "no connection", PATIENCE_MS);
    server.write("1");
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
    await hears(page, "0", "1");
  },

  async "a clock that jumps changes nothing"(context, server) {
    const page = await openTab(context, server, { heartbeat: 1_000 });
    server.write("0");
    await hears(page, "0");
    await page.evaluate(() => ((Date.now = () => 0), (Date.prototype.getTime = () => NaN)));
    await sleep(3_000);
    server.write("1");
    await hears(page, "0", "1");
    assert.equal(streams(server).length, 1);
  },

  async "it works in a worker"(context, server) {
    const page = await newPage(context);
    await page.goto(`${site}/page`);
    server.write("0");
    const heard = await page.evaluate(
      ([site, url]) =>
        new Promise((resolve) => {
          const code = `import { Tailrace } from "${site}/dist/index.js";
            new Tailrace("${url}", { from: "earliest" }).on("*", (event) => postMessage(event.data));`;
          const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
          worker.onmessage = ({ data }) => resolve(data);
        }),
      [site, server.url],
    );
    assert.equal(heard, "0");
  },
};

/** These have the browser for themselves. */
const alone = ["a worker that dies is followed by a tab"];

let failed = false;
async function go(name) {
  const [context, server] = [await browser.newContext(), await Server.start()];
  try {
    await troubles[name](context, server);
    process.stderr.write(`as it should be: ${name}\n`);
  } catch (error) {
    failed = true;
    console.log(`failed: ${name}: ${error}`);
    process.stderr.write(`${error.stack}\n${JSON.stringify(server.asked)}\n`);
  }
  await context.close();
  await server.stop();
}
// Most of them wait most of the time.
await Promise.all(Object.keys(troubles).filter((name) => !alone.includes(name)).map(go));
for (const name of alone) await go(name);
await browser.close();
console.log(failed ? "failed" : "done");
