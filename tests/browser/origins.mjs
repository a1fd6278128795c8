// Plain EventSources of the bridge's own origin and of another one, and beside the latter the client module.

import { hearPlain, openPage, printUntilTheEnd } from "./hearing.mjs";
import { launch } from "./page.mjs";
import { startSite } from "./site.mjs";

const bridge = process.argv[2];
const stream = new URL("/t/acme/events", bridge).href;
const browser = await launch();
const own = await openPage(browser, bridge);
const other = await openPage(browser, await startSite(bridge));
await hearPlain(own, "same", "/t/acme/events");
await hearPlain(other, "other", stream);
await other.evaluate(async (stream) => {
  const { hear } = await import("/hear.mjs");
  hear(stream, (what) => heard.push(`module ${what}`));
}, stream);
await printUntilTheEnd(browser, [own, other]);
