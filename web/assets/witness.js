/**
 * Reads the same subscription over a connection of its own, which the button does not cut. It is read by fetch and
 * a few lines of parsing, not by an EventSource: it sees every event type, the id before the first event, and why a
 * stream is refused, and it shares nothing with what it testifies about.
 */
export async function witness(address, { signal, token, onid, onevent, onrefused, onstate }) {
  let id = "";
  let retry = 2000;
  while (!signal.aborted) {
    try {
      const url = new URL(address);
      const bearer = await token?.();
      if (bearer) url.searchParams.set("access_token", bearer);
      const response = await fetch(url, { signal, cache: "no-store", headers: { Accept: "text/event-stream", ...(id && { "Last-Event-ID": id }) } });
      if (response.status !== 200) {
        const problem = await response.json().catch(() => ({}));
        const again = response.status === 429 || response.status >= 500;
        onrefused({ ...problem, status: response.status, again });
        if (!again) return;
        retry = Math.max(Number(response.headers.get("Retry-After")) * 1000 || 0, 2000);
      } else {
        onstate("open");
        await parse(response.body.pipeThrough(new TextDecoderStream()));
      }
    } catch {
      // Cut, or no server: tried again below.
    }
    if (!signal.aborted) onstate("waiting");
    await new Promise((done) => {
      setTimeout(done, retry);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  async function parse(stream) {
    let rest = "";
    let block = { type: "message", data: [], id: undefined };
    for await (const chunk of stream) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (block.id !== undefined) onid((id = block.id));
          if (block.data.length) onevent(block.type, block.data.join("\n"), id);
          block = { type: "message", data: [], id: undefined };
          continue;
        }
        const colon = line.indexOf(":");
        const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
        switch (colon < 0 ? line : line.slice(0, colon)) {
          case "event": block.type = value || "message"; break;
          case "data": block.data.push(value); break;
          case "id": block.id = value; break;
          case "retry": retry = Number(value) || retry; break;
        }
      }
    }
  }
}
