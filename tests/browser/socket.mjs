// A page with a WebSocket, as docs/protocol.md has it. Prints the data of each record.

import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "./page.mjs";

/** How often the page is asked what happened, in milliseconds. */
const POLL_MS = 50;

const browser = await launch();
const page = await browser.newPage();
await page.goto(process.argv[2]);
await page.evaluate(() => {
  window.said = [];
  let last;
  (function open() {
    const query = "topic=orders&from=earliest" + (last ? "&last_event_id=" + encodeURIComponent(last) : "");
    const socket = new WebSocket(`ws://${location.host}/t/acme/ws?${query}`);
    socket.onopen = () => said.push("open");
    socket.onmessage = (message) => {
      const { event, id, data } = JSON.parse(message.data);
      if (data !== undefined && event === undefined) said.push(data);
      last = id ?? last;
    };
    socket.onclose = () => setTimeout(open, 50);
  })();
});
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const line of await page.evaluate(() => said.splice(0))) console.log(line);
  await sleep(POLL_MS);
}
await browser.close();
