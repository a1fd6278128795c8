// The client module, in a page or in a worker, telling what it hears.

import { Tailrace } from "/tailrace.js";

export function hear(address, say) {
  const onstate = (state) => {
    if (state === "open") say("open");
    if (state === "refused" || state === "closed") say("closed");
  };
  const stream = new Tailrace(address, { onstate });
  stream.on("message", (event) => say(`data ${event.data}`));
  stream.on("tailrace.gap", (event) => say(`gap ${event.data}`));
  stream.on("tailrace.error", (event) => say(`error ${event.data}`));
}
