import { ask, type Link } from "./link.js";

/** Reads a stream of Server-Sent Events. By fetch: an EventSource hides types that nobody named, heartbeats and refusals. */
export async function readEvents(link: Link): Promise<void> {
  const response = await ask(link, link.address("events")!, "text/event-stream", "no-store");
  link.opened();
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const take = parser(link);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    link.alive();
    take(value);
    await link.room();
  }
}

/** By the HTML standard, section 9.2.6, without CR alone as a line end, which Tailrace does not send. */
export function parser(link: Pick<Link, "take" | "retry">): (chunk: string) => void {
  let rest = "";
  let type = "";
  let data: string[] = [];
  let id: string | undefined;
  return (chunk) => {
    const lines = chunk.split("\n");
    lines[0] = rest + lines[0];
    rest = lines.pop()!;
    for (let line of lines) {
      if (line.endsWith("\r")) line = line.slice(0, -1);
      if (!line) {
        if (data.length) link.take(type || "message", data.join("\n"), id);
        else if (id !== undefined) link.take(undefined, "", id);
        [type, data, id] = ["", [], undefined];
        continue;
      }
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line)!;
      if (name === "data") data.push(value!);
      else if (name === "event") type = value!;
      else if (name === "id") id = value;
      else if (name === "retry") link.retry(Number(value));
    }
  };
}
