// A client by the package ws. Prints the data of each record, and comes back with the last id whenever it is cut.

import WebSocket from "ws";

let last = null;
function open() {
  const url = last === null ? process.argv[2] : `${process.argv[2]}&last_event_id=${last}`;
  const socket = new WebSocket(url);
  socket.on("message", (message) => {
    const { event, id, data } = JSON.parse(message);
    if (data !== undefined && event === undefined) console.log(data);
    last = id ?? last;
  });
  socket.on("error", (error) => console.error(error.code));
  socket.on("close", () => setTimeout(open, 50));
}
open();
