// The code that the console gives for one's own page, put into a page.

import { spawnSync } from "node:child_process";

/** Until events or a request must have come, in milliseconds. */
const WAIT_MS = 5_000;
/** Until it is clear that no more come than should. */
const MORE_MS = 300;

/** The address that the code opens. */
export function addressIn(code) {
  const text = /"(?:\\.|[^"\\])*"/.exec(code)?.[0] ?? '""';
  return new URL(JSON.parse(text), "http://somewhere");
}

/** Runs the code in a page of the same server, and gives what it writes to the console: `{ type, record }` each. */
export async function runCode(browser, server, code, count, token = "") {
  const page = await browser.newPage();
  const heard = [];
  page.on("dialog", (dialog) => dialog.accept(token));
  page.on("console", async (message) => {
    if (message.type() !== "log") return; // the browser's own words, of an icon that is not there
    const values = Promise.all(message.args().map((argument) => argument.jsonValue()));
    const [type, record] = await values.catch(() => []);
    if (type) heard.push({ type, record });
  });
  // A page of that server without a script of its own.
  await page.goto(new URL("/tailrace.js", server).href);
  await page.addScriptTag({ content: code });
  for (let waited = 0; heard.length < count && waited < WAIT_MS; waited += MORE_MS) await page.waitForTimeout(MORE_MS);
  await page.waitForTimeout(MORE_MS);
  // What comes while the page closes cannot be asked for its value any more.
  page.removeAllListeners("console");
  const all = [...heard];
  await page.close();
  return all;
}

/** Runs the code of the module, and gives how many records of the wanted ones it wrote. */
export async function runModule(browser, server, code, count) {
  const page = await browser.newPage();
  let heard = 0;
  page.on("console", (message) => message.type() === "log" && heard++);
  await page.goto(new URL("/tailrace.js", server).href);
  // Where there is no bundler, the module is taken from the server.
  await page.addScriptTag({ type: "module", content: code.replace(`from "tailrace"`, `from "/tailrace.js"`) });
  for (let waited = 0; heard < count && waited < WAIT_MS; waited += MORE_MS) await page.waitForTimeout(MORE_MS);
  await page.close();
  return heard >= count;
}

/** Runs the command, and gives whether the stream that it prints has records of topic `orders`. */
export function runShell(code) {
  const shell = spawnSync("sh", ["-c", `exec ${code}`], { timeout: WAIT_MS, encoding: "utf8" });
  return shell.stdout.includes(`data: {`) && shell.stdout.includes(`"topic":"orders"`);
}

/** Whether a WebSocket at this address gets so many messages. */
export async function runSocket(browser, server, address, count) {
  const page = await browser.newPage();
  await page.goto(new URL("/tailrace.js", server).href);
  const opens = page.evaluate(([address, count]) => new Promise((done) => {
    let got = 0;
    const socket = new WebSocket(address);
    socket.onmessage = () => ++got === count && done(true);
    socket.onerror = () => done(false);
  }), [address, count]);
  const result = await Promise.race([opens, page.waitForTimeout(WAIT_MS).then(() => false)]);
  await page.close();
  return result;
}

/** Whether the code, within the HTML of a page, asks for just what the fields say. */
export async function sendsWhatItSays(browser, code, { tenant, topics, types, where }) {
  const page = await browser.newPage();
  const asked = page.waitForRequest(/\/events/, { timeout: WAIT_MS }).catch(() => undefined);
  await page.setContent(`<script>${code}</script>`);
  const request = await asked;
  await page.close();
  if (!request) return false;
  const { pathname, searchParams } = new URL(request.url());
  const isSame = (name, values) => searchParams.getAll(name).join("\n") === values.join("\n");
  return decodeURIComponent(pathname) === `/t/${tenant}/events` && isSame("topic", topics) && isSame("type", types) && isSame("where", where);
}
