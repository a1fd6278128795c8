// A site of an origin of its own, with the package as it is built. `programs` are modules by their names: each has a page, /<name>.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

/** Serves until the process ends. Gives the site's address. */
export async function startSite(programs) {
  const server = createServer(async ({ url }, answer) => {
    const { pathname } = new URL(url, "http://site/");
    const name = pathname.slice(1);
    if (name in programs) {
      answer.setHeader("Content-Type", "text/html");
      return answer.end(`<!doctype html><title>${name}</title><main></main><script type="module">${programs[name]}</script>`);
    }
    try {
      if (!/^\/dist\/\w+\.js$/.test(pathname)) throw new Error("there is no such file");
      const script = await readFile(new URL(`../..${pathname}`, import.meta.url));
      answer.setHeader("Content-Type", "text/javascript");
      answer.end(script);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await once(server.listen(0, "127.0.0.1").unref(), "listening");
  return `http://127.0.0.1:${server.address().port}`;
}
