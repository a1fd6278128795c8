import type { Link } from "./link.js";

/** Reads a WebSocket. A script does not learn why one was refused. */
export function readSocket(link: Link): Promise<void> {
  return new Promise((resolve, reject) => {
    const address = link.address("ws")!;
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, link.token ? ["bearer", link.token] : []);
    let opened = false;
    link.signal.addEventListener("abort", () => socket.close());
    socket.onopen = () => {
      opened = true;
      link.opened();
    };
    socket.onmessage = (message) => {
      if (link.signal.aborted) return;
      link.alive();
      const { event = "message", id, retry, data } = JSON.parse(message.data);
      if (retry) link.retry(retry);
      // Under `envelope: "none"`, text that is not JSON comes as a string.
      const text = typeof data === "string" ? data : JSON.stringify(data);
      link.take(text === undefined ? undefined : event, text, id);
      // A socket cannot be read more slowly: it is opened again, from here, when there is room.
      const room = link.room();
      if (!room) return;
      socket.onmessage = socket.onclose = null;
      socket.close();
      void room.then(resolve);
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = () => (opened ? resolve() : reject(new Error("no WebSocket")));
  });
}
