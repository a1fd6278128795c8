// An EventSource as anybody would write it, without the client module, on the bridge's own page.

import { hearPlain, openPage, printUntilTheEnd } from "./hearing.mjs";
import { launch } from "./page.mjs";

const browser = await launch();
const page = await openPage(browser, process.argv[2]);
await hearPlain(page, "plain", "/t/acme/events");
await printUntilTheEnd(browser, [page]);
