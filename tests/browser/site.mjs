// A site of an origin of its own: an empty page, its scripts, and the bridge behind a proxy.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { pipeline } from "node:stream";

const SCRIPTS = {
  "/tailrace.js": new URL("../../web/assets/tailrace.js", import.meta.url),
  "/hear.mjs": new URL("site/hear.mjs", import.meta.url),
  "/worker.mjs": new URL("site/worker.mjs", import.meta.url),
};

/** Serves until the process ends. Gives the site's address. */
export async function startSite(bridge) {
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, "http://site/");
    if (pathname.startsWith("/t/")) return passOn(new URL(asked.url, bridge), asked, answer);
    return serve(pathname, answer);
  });
  await once(server.listen(0, "127.0.0.1").unref(), "listening");
  return `http://127.0.0.1:${server.address().port}/`;
}

async function serve(pathname, answer) {
  const script = SCRIPTS[pathname];
  answer.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  if (!script && pathname !== "/") answer.statusCode = 404;
  answer.end(script ? await readFile(script) : "<!doctype html><title>A site</title>");
}

/** As a proxy does: a stream that is cut behind it is cut before it, and nobody behind it is a 502. */
function passOn(address, asked, answer) {
  const { method, headers } = asked;
  const onward = request(address, { method, headers, agent: false }, (response) => {
    for (const name of ["content-type", "content-encoding"]) {
      if (name in response.headers) answer.setHeader(name, response.headers[name]);
    }
    answer.writeHead(response.statusCode);
    answer.flushHeaders();
    pipeline(response, answer, () => {});
  });
  onward.on("error", () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
  answer.on("close", () => onward.destroy());
  onward.end();
}
