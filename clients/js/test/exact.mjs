// Reads a stream in one of several ways, and prints the data of each record. tests/packages.rs cuts it, and compares.
//
//     node exact.mjs <url> handlers|websocket|pages|loop|restarts [file]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Tailrace } from "tailrace";
import WS from "ws";

globalThis.WebSocket ??= WS;

const [, , url, mode, file] = process.argv;

/** How long a process lives, once its stream is open. */
const LIFE_MS = 500;

const print = (event) => console.log(event.data);
function report(state, detail) {
  console.error(state, detail?.reason ?? "");
  if (state === "open") process.send?.(state);
}
const options = { from: "earliest", onstate: report };

const modes = {
  handlers() {
    const stream = new Tailrace(url, { ...options, transports: ["sse"] });
    stream.on("message", print);
    stream.on("tailrace.gap", print);
  },
  websocket: () => new Tailrace(url, { ...options, transports: ["websocket"] }).on("*", "tailrace.gap", print),
  pages: () => new Tailrace(url, { ...options, transports: ["pages"] }).on("*", "tailrace.gap", print),
  async loop() {
    for await (const event of new Tailrace(url, options)) if (event.type !== "tailrace.synced") print(event);
  },
  async restarts() {
    for (;;) {
      const child = spawn(process.execPath, [fileURLToPath(import.meta.url), url, "once", file], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      const exit = once(child, "exit");
      await Promise.race([once(child, "message"), exit]);
      await sleep(LIFE_MS);
      child.kill("SIGTERM");
      await exit;
    }
  },
  once() {
    const resume = {
      load: () => readFile(file, "utf8").catch(() => undefined),
      save: (id) => writeFile(`${file}.new`, id).then(() => rename(`${file}.new`, file)),
    };
    const stream = new Tailrace(url, { ...options, resume });
    stream.on("*", "tailrace.gap", print);
    process.once("SIGTERM", () => void stream.close().then(() => process.exit()));
  },
};

await modes[mode]();
