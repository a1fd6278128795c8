// A SharedWorker that tells its page what the client module hears in it. The address is relative: a worker has no document.

import { hear } from "/hear.mjs";

onconnect = ({ ports: [port] }) => {
  const say = (what) => port.postMessage(what);
  try {
    hear("/t/acme/events", say);
  } catch (error) {
    say(`failed: ${error}`); // a browser tells nobody
  }
};
