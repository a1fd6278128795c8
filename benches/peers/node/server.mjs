// What one would write for Node: a set of responses for event streams, the package ws for WebSockets. A POST to /publish is an event for
// all clients.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const [host, port] = process.argv[2].split(":");
const streams = new Set();
const sockets = new WebSocketServer({ noServer: true });

function publish(event) {
  for (const stream of streams) stream.write(`data: ${event}\n\n`);
  for (const socket of sockets.clients) socket.send(event);
}

const server = createServer((request, response) => {
  if (request.method === "POST") {
    let event = "";
    request.setEncoding("utf8").on("data", (part) => (event += part));
    request.on("end", () => {
      publish(event);
      response.writeHead(204).end();
    });
    return;
  }
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" }).flushHeaders();
  streams.add(response);
  response.on("close", () => streams.delete(response));
});
server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (client) => sockets.emit("connection", client, request));
});
server.listen({ host, port: Number(port), backlog: 4096 });
