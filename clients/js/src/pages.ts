import { ask, type Link } from "./link.js";
import type { KafkaRecord } from "./types.js";

/** How long the server may keep a page open that has nothing yet, in ms. */
const WAIT_MS = 20_000;

interface Page {
  records: (KafkaRecord & { type?: string; code?: string; specversion?: string })[];
  gaps?: { at: number }[];
  more?: boolean;
  next: string;
}

/** Reads one page of records after the other. Only the last event of a page has a new id. */
export async function readPages(link: Link): Promise<void> {
  let wait = 0;
  let replayed = 0;
  let synced = false;
  while (!link.signal.aborted) {
    const address = link.address("records")!;
    address.searchParams.set("limit", "1000");
    address.searchParams.set("wait", `${wait}ms`);
    if (link.envelope !== "cloudevents") address.searchParams.set("envelope", "record"); // for the types
    const page: Page = await (await ask(link, address, "application/json", "default")).json();
    link.opened();
    link.alive();
    const events = eventsOf(page, link.envelope);
    events.forEach(([type, data], at) => link.take(type, data, at === events.length - 1 ? page.next : undefined));
    if (!events.length) link.take(undefined, "", page.next);
    replayed += page.records.length;
    if (!synced && !page.more) {
      synced = true;
      link.take("tailrace.synced", JSON.stringify({ replayed }), undefined);
    }
    wait = page.more ? 0 : Math.min(WAIT_MS, link.patience / 2);
    await link.room();
  }
}

/** As a stream has them: gaps in their places, and types. */
function eventsOf({ records, gaps = [] }: Page, envelope: string | undefined): [string, string][] {
  const events: [string, string][] = [];
  for (let at = 0; at <= records.length; at++) {
    for (const { at: place, ...gap } of gaps) if (place === at) events.push(["tailrace.gap", JSON.stringify(gap)]);
    const record = records[at];
    if (record) events.push(eventOf(record, envelope));
  }
  return events;
}

function eventOf(record: Page["records"][0], envelope: string | undefined): [string, string] {
  const { type = "message", ...rest } = record;
  if (envelope === "cloudevents") return [type === "tailrace.record" ? "message" : type, JSON.stringify(record)];
  if (record.code) return ["tailrace.undecodable", JSON.stringify(rest)];
  if (envelope === "record") return [type, JSON.stringify(rest)];
  if (record.value_kind) return [`tailrace.${record.value_kind}`, JSON.stringify(rest)];
  return [type, typeof record.value === "string" ? record.value : JSON.stringify(record.value)];
}
