/** The chosen stream in other programs. */

import { route, streamAddress } from "./stream-address.js";

// The code may be pasted into a script element, which its end tag would end even within a string.
const quote = (text) => JSON.stringify(text).replaceAll("<", "\\u003c");
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
/** Python's strings have the same escapes as JSON's. */
const python = (text) => JSON.stringify(text);

/** name -> the code, for a choice; `asksForToken`: without the token itself. */
export const SNIPPETS = { curl, EventSource: eventSource, "tailrace.js": tailraceJs, Python: pythonClient, wscat };

function curl(choice, asksForToken) {
  const token = asksForToken ? [`  -H "Authorization: Bearer $TOKEN" \\`] : [];
  return ["curl -N \\", ...token, `  ${shell(streamAddress(choice, { envelope: "record" }).href)}`].join("\n");
}

function eventSource(choice, asksForToken) {
  return [
    `const url = new URL(${quote(streamAddress(choice, { envelope: "record", event: "none" }).href)});`,
    ...(asksForToken ? ["// Yours asks your server for a token.", `url.searchParams.set("access_token", prompt("Access token"));`] : []),
    "const events = new EventSource(url);",
    "const show = (event) => console.log(event.type, JSON.parse(event.data));",
    "events.onmessage = show;",
    `events.addEventListener("tailrace.gap", show);`,
  ].join("\n");
}

function tailraceJs(choice, asksForToken) {
  const { topics, types, where, from } = choice;
  const list = (name, values) => (values.length ? [`  ${name}: [${values.map(quote).join(", ")}],`] : []);
  const address = route(choice.tenant, "events");
  address.searchParams.set("event", "none");
  return [
    `import { Tailrace } from "tailrace";`,
    "",
    `const stream = new Tailrace(${quote(address.href)}, {`,
    ...list("topics", topics),
    ...list("types", types),
    ...list("where", where),
    ...(from ? [`  from: ${quote(from)},`] : []),
    `  envelope: "record",`,
    ...(asksForToken ? [`  token: async () => (await fetch("/my/token")).text(),`] : []),
    "});",
    `stream.on("message", (event) => console.log(JSON.parse(event.data)));`,
    `stream.on("tailrace.gap", (event) => console.log("gap", JSON.parse(event.data)));`,
  ].join("\n");
}

function pythonClient(choice, asksForToken) {
  const { topics, types, where, from } = choice;
  const list = (name, values) => (values.length ? [`    ${name}=[${values.map(python).join(", ")}],`] : []);
  return [
    ...(asksForToken ? ["import os", ""] : []),
    "from tailrace import stream",
    "",
    "with stream(",
    `    ${python(route(choice.tenant, "events").href)},`,
    ...list("topics", topics),
    ...list("types", types),
    ...list("where", where),
    ...(from ? [`    start=${python(from)},`] : []),
    ...(asksForToken ? [`    token=os.environ["TOKEN"],`] : []),
    ") as events:",
    "    for event in events:",
    "        print(event.topic, event.partition, event.offset, event.type, event.key, event.value)",
  ].join("\n");
}

function wscat(choice, asksForToken) {
  const address = streamAddress(choice, { envelope: "record" }, "ws");
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const token = asksForToken ? [`  -H "Authorization: Bearer $TOKEN" \\`] : [];
  return ["wscat \\", ...token, `  -c ${shell(address.href)}`].join("\n");
}
