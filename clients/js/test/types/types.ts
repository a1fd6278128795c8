// What must compile, and what must not.

import { type Gap, type KafkaRecord, Tailrace } from "tailrace";
import { useTailrace } from "tailrace/react";

const stream = new Tailrace<{ orders: Order; prices: Price | null }>("/t/acme/events", { envelope: "record", token: () => "t" });

stream.onTopic("orders", (record) => record.value.total.toFixed());
// @ts-expect-error: there is no such topic
stream.onTopic("order", () => {});
// @ts-expect-error: a price may be a tombstone
stream.onTopic("prices", (record) => record.value.amount);

stream.on("order.paid", "order.created", (event) => event.data.length + event.lastEventId.length);
stream.on<KafkaRecord<Order>>("order.paid", (event) => event.json().value.total);
stream.on("tailrace.gap", (event) => event.json().code satisfies Gap["code"]);
stream.on("*", (event) => {
  const record = event.json();
  if (record.topic === "orders") record.value.total.toFixed();
  // @ts-expect-error: of which topic is it?
  record.value.total;
});
// @ts-expect-error: the handler is missing
stream.on("a", "b");
// @ts-expect-error: there is no such option
new Tailrace("/", { topic: "orders" });
// @ts-expect-error: it is internal
new Tailrace("/", { wrap: () => (way: unknown) => way });

export async function loop(): Promise<number> {
  for await (const event of stream) {
    const record = event.json();
    if (record.topic === "prices") return record.value?.amount ?? 0;
  }
  return 0;
}

export function Component(): Order[] {
  return useTailrace("/t/acme/events", { resume: "orders" }, (list: Order[], event) => [...list, event.json()], []).value;
}
