// Records of every kind, on a server in the place of Tailrace: how they are shown, searched, filtered and copied, and that none of
// them is more than text. Prints a line of JSON: how many things were looked at, and all that was wrong.

import { openConsole } from "./page.mjs";
import { StandIn, encodeId } from "./stand-in.mjs";
import { Steps } from "./steps.mjs";

const HTML = `<img src=x onerror="document.title='broken in'"><script>document.title="broken in"</script>`;
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const LONG = `key-${"z".repeat(3000)}`;

const RECORDS = [
  { key: "order-1", type: "order.paid", headers: { region: "eu", traceparent: `00-${TRACE}-00f067aa0ba902b7-01` }, value: { currency: "EUR", customer: "ada", id: "order-1", nested: { note: "a, b" }, state: "paid", total: 249 } },
  { value: "plain text, not JSON" },
  { key: "gone", value: null, value_kind: "tombstone" },
  { key: { base64: "AAEC/w==" }, headers: { raw: { base64: "AP8=" }, nothing: null }, value: { base64: "AAECAwT/SGVsbG8=" }, value_kind: "binary" },
  { value: null, value_kind: "masked" },
  { value: { base64: "AAAAABECYQ==" }, value_kind: "binary", code: "unknown_schema", field: "value" },
  { key: HTML, type: HTML, headers: { [HTML]: HTML }, value: { [HTML]: HTML, id: HTML } },
  { key: LONG, value: { id: "long", text: "w".repeat(20_000) } },
  { value: [1, 2, 3] },
  { value: 17 },
  { value: null },
  { value: { base64: "bG9va3M=" } },
  { timestamp: null, value: { id: "no time" } },
  { value: { big: 9007199254740993, deep: { a: { b: { c: { d: 1 } } } }, "with.dot": "x", empty: {}, list: [] } },
];

const server = new StandIn({ mixed: 1, other: 1 });
const address = await server.start();
const { browser, page, complaints } = await openConsole(`${address}?tenant=acme&autostart=1`);
await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
const steps = new Steps(page, complaints);
const row = (offset) => page.locator(`.event:has(.toggle[aria-label$="mixed 0 @ ${offset}"])`);
const cell = async (offset, name) => (await row(offset).locator(`.row > .${name}`).textContent()).trim();
const details = (offset) => row(offset).locator(".details");
const toggle = (offset) => row(offset).locator(".toggle").click();

await steps.enters("live");
RECORDS.forEach((record) => server.publish("mixed", 0, record));
await steps.reaches(RECORDS.length);
await steps.comes("all rows", (count) => document.querySelectorAll("#list > .event").length === count, RECORDS.length);

await steps.all(previews, fullRecords, inert, search, columns, filters, filtersOfTheNextStart, link);
await browser.close();
await server.stop();
console.log(JSON.stringify({ checked: steps.checked, complaints }));

async function previews() {
  steps.doing = "previews";
  const first = (await page.locator("#list .toggle").first().getAttribute("aria-label"));
  steps.same("the newest is the first", first, `Event mixed 0 @ ${RECORDS.length - 1}`);
  steps.same("an object begins with what tells most", await cell(0, "value"), "id order-1state paidtotal 249customer adanested.note a, bcurrency EUR");
  steps.same("its type", await cell(0, "type"), "order.paid");
  steps.same("its key", await cell(0, "key"), "order-1");
  steps.same("a record without a type", await cell(1, "type"), "message");
  steps.same("text", await cell(1, "value"), "plain text, not JSON");
  steps.same("a tombstone", await cell(2, "value"), "tombstone");
  steps.expect("bytes", (await cell(3, "value")).startsWith("binaryAAEC"));
  steps.expect("a key of bytes", (await cell(3, "key")).includes("AAEC/w== (base64)"));
  steps.same("a value that is withheld", await cell(4, "value"), "withheld");
  steps.expect("what cannot be decoded", (await cell(5, "value")).startsWith("undecodable: unknown_schema"));
  steps.expect("a long key is cut", (await cell(7, "key")).length < 500);
  steps.same("an array", await cell(8, "value"), "[1,2,3]");
  steps.same("a number", await cell(9, "value"), "17");
  steps.same("a null", await cell(10, "value"), "null");
  steps.same("an object that looks like bytes is none", await cell(11, "value"), "base64 bG9va3M=");
  steps.same("a record without a time", await cell(12, "time"), "");
}

async function fullRecords() {
  steps.doing = "a record in full";
  await toggle(0);
  const facts = await details(0).locator("dl").textContent();
  for (const fact of ["mixed, partition 0, offset 0", "Age", "order.paid", "Header region", "eu", TRACE, "Event id", encodeId(new Map([["mixed", [1]], ["other", [0]]]))]) {
    steps.expect(`it has ${fact}`, facts.includes(fact));
  }
  steps.same("the value, as JSON", JSON.parse(await details(0).locator("pre").textContent()), RECORDS[0].value);
  const copied = steps.comes("the word that it is copied", () => document.querySelector(".details .buttons button").textContent === "Copied");
  await details(0).getByRole("button", { name: "Copy record" }).click();
  await copied;
  steps.same("the copied record", JSON.parse(await steps.clipboard()).value, RECORDS[0].value);
  await details(0).getByRole("button", { name: "Copy event id" }).click();
  await page.waitForFunction(async () => !(await navigator.clipboard.readText()).startsWith("{"));
  steps.same("the copied id", await steps.clipboard(), encodeId(new Map([["mixed", [1]], ["other", [0]]])));
  await details(0).getByRole("button", { name: "Decode id" }).click();
  await steps.says("#decoded", "mixed");
  steps.same("the id's offsets", await steps.texts("#decoded .offset"), ["01", "00"]);
  await page.keyboard.press("Escape");
  await steps.comes("the drawer is closed", () => document.getElementById("panels").hidden);
  await toggle(0);
  await toggle(2);
  steps.expect("a tombstone is told", (await details(2).textContent()).includes("A tombstone"));
  await toggle(2);
  await toggle(3);
  steps.expect("bytes as hex and text", (await details(3).textContent()).includes("00 01 02 03 04 ff 48 65 6c 6c 6f") && (await details(3).textContent()).includes("......Hello"));
  steps.expect("a header of null", /nothing.*null/.test(await details(3).textContent()));
  await toggle(3);
  await toggle(5);
  steps.expect("why it cannot be decoded", (await details(5).textContent()).includes("Undecodable: unknown_schema (value)"));
  await toggle(5);
  await toggle(13);
  steps.same("a deep value, as JSON", JSON.parse(await details(13).locator("pre").textContent()).deep, RECORDS[13].value.deep);
  // JavaScript has rounded it: the filter would ask for another number.
  steps.same("a rounded number is not asked for", await details(13).locator("button.scalar").allTextContents(), ["1", '"x"']);
  await toggle(13);
}

async function inert() {
  steps.doing = "HTML in a record";
  await toggle(6);
  steps.same("elements that came with it", await page.locator("#list img, #list script").count(), 0);
  steps.expect("it is shown as text", (await details(6).textContent()).includes(HTML));
  await row(6).locator(".pair").first().hover();
  await page.waitForTimeout(300);
  steps.same("the title", await page.title(), "Tailrace console");
  await toggle(6);
}

async function search() {
  steps.doing = "search";
  await page.fill("#search", "PLAIN text");
  const shown = () => page.locator("#list > .event:visible").count();
  steps.same("one is found", await shown(), 1);
  steps.same("it is said", await steps.text("#found"), `1 of ${RECORDS.length}`);
  server.publish("mixed", 0, { value: "plain text again" });
  server.publish("mixed", 0, { value: "something else" });
  await steps.reaches(RECORDS.length + 2);
  await steps.comes("what comes is searched, too", (text) => document.getElementById("found").textContent === text, `2 of ${RECORDS.length + 2}`);
  await page.fill("#search", TRACE);
  steps.same("headers are searched", await shown(), 1);
  await page.fill("#search", "");
  steps.same("all are back", await shown(), RECORDS.length + 2);
}

async function columns() {
  steps.doing = "columns";
  await steps.press("#picker summary");
  steps.expect("fields are offered", (await steps.texts("#columns label")).includes("value.total"));
  await page.getByRole("checkbox", { name: "value.total", exact: true }).check();
  await page.getByRole("checkbox", { name: "Headers", exact: true }).check();
  await page.getByRole("checkbox", { name: "Type", exact: true }).uncheck();
  steps.same("the titles", await steps.texts("#titles .cell"), ["Time", "Topic, partition, offset", "Key", "Headers", "total", "Value"]);
  steps.same("the field of a record", (await row(0).locator(".field").textContent()).trim(), "249");
  steps.same("the field of a record without it", (await row(1).locator(".field").textContent()).trim(), "");
  steps.expect("the address has them", new URL(page.url()).searchParams.getAll("column").includes("value.total"));
  await page.keyboard.press("Escape");
  steps.expect("it closes by Escape", !(await page.locator("#picker").evaluate((picker) => picker.open)));
  server.publish("mixed", 0, { value: { id: "later", total: 5 } });
  await steps.comes("new rows have the columns", () => document.querySelector("#list .field")?.textContent.includes("5"));
}

/** The name of what starts the stream again with a value. */
function again(what) {
  return `Only this: start again with ${what}`;
}

/** Does what starts the stream again, and waits for that: two requests, of the stream and of its witness. */
async function restarts(action) {
  const before = server.asked.length;
  await action();
  for (let waited = 0; server.asked.length < before + 2 && waited < 100; waited++) await page.waitForTimeout(50);
  steps.expect("it starts again", server.asked.length >= before + 2);
  await steps.enters("live");
}

async function filters() {
  steps.doing = "filter by a value";
  const asked = (name) => server.asked.at(-1).searchParams.getAll(name);
  const paid = { key: "order-1", type: "order.paid", headers: { region: "eu" }, value: { id: "a=b", customer: "ada", "with.dot": "x", note: "a, b" } };
  const publish = async (record = paid) => {
    server.publish("mixed", 0, record);
    await steps.reaches(1);
    await page.locator("#list .toggle").first().waitFor();
  };
  // With the pointer, on a value in the table. Whoever pauses to hit a row sees what the click brings.
  await steps.press("#pause");
  await row(0).locator(".pair", { hasText: "customer" }).hover();
  steps.same("the button says that it is at once", await steps.text(".by-value"), "Only this");
  await restarts(() => page.getByRole("button", { name: again("the condition value.customer=ada"), exact: true }).click());
  steps.same("a new start ends a pause", await steps.text("#pause"), "Pause");
  steps.same("the server is asked", asked("where"), ["value.customer=ada"]);
  steps.same("the condition stands in the form", await steps.texts("#conditions .text"), ["value.customer=ada"]);
  server.publish("mixed", 0, { ...paid, value: { customer: "grace" } });
  await publish();
  steps.same("what does not match does not come", await steps.count("events"), 1);
  // With the keyboard, in a record that is open.
  const press = async (name) => {
    await page.locator("#list .toggle").first().focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name, exact: true }).first().focus();
    await restarts(() => page.keyboard.press("Enter"));
    await publish();
  };
  await press(again("the condition value.id=a\\=b"));
  steps.same("an operator in a value is escaped", asked("where"), ["value.customer=ada", "value.id=a\\=b"]);
  await press(again("the condition key=order-1"));
  await press(again("the condition header.region=eu"));
  steps.same("all of them", asked("where"), ["value.customer=ada", "value.id=a\\=b", "key=order-1", "header.region=eu"]);
  await press(again("the type order.paid alone"));
  steps.same("the type is a chip", asked("type"), ["order.paid"]);
  steps.same("it is on", await steps.texts("#type-chips [aria-pressed=true] .name"), ["order.paid"]);
  await page.locator("#list .toggle").first().click();
  steps.same("a name with a dot is a pointer", await page.getByRole("button", { name: again("the condition value/with.dot=x"), exact: true }).count(), 1);
  // Taken away again.
  await restarts(() => page.getByRole("button", { name: "Remove the condition key=order-1" }).click());
  steps.same("one less is asked for", asked("where").length, 3);
  await publish();
  await page.locator("#list .event .position .topic").first().hover();
  await restarts(() => page.getByRole("button", { name: again("the topic mixed alone"), exact: true }).click());
  steps.same("the topic is asked for", asked("topic"), ["mixed"]);
  const timestamp = Date.now();
  await publish({ ...paid, timestamp });
  await page.locator("#list .event .time").first().hover();
  await restarts(() => page.getByRole("button", { name: "Replay from this time" }).click());
  await steps.reaches(1);
  steps.same("the time is asked for", Date.parse(await page.inputValue("#from")), timestamp);
}

async function filtersOfTheNextStart() {
  steps.doing = "filter by a value while nothing runs";
  const conditions = () => steps.texts("#conditions .text");
  const before = await conditions();
  await page.locator("#list .toggle").first().click();
  const name = "Filter: ask for the condition value.note=a\\, b at the next start";
  const named = page.locator(".details").getByRole("button", { name, exact: true });
  steps.same("while it runs, it is another button", await named.count(), 0);
  await steps.press("#stop");
  await steps.enters("idle");
  steps.same("in a record that is open", await named.count(), 1);
  await page.locator("#list .pair", { hasText: "customer" }).first().hover();
  steps.same("the button beside a value", await steps.text(".by-value"), "Filter");
  const asked = server.asked.length;
  await named.click();
  await steps.comes("the condition", (count) => document.querySelectorAll("#conditions .text").length === count, before.length + 1);
  // What a chip or a condition starts, it starts within half a second.
  await page.waitForTimeout(600);
  steps.same("nothing is asked for yet", server.asked.length, asked);
  await page.locator("#list .time").first().hover();
  steps.same("a time is replayed at once", await steps.text(".by-value"), "Replay");
  // Of two topics that are on, one alone.
  await page.fill("#topic", "other");
  await page.press("#topic", "Enter");
  const on = () => steps.texts("#topic-chips [aria-pressed=true] .name");
  steps.same("two topics", (await on()).sort(), ["mixed", "other"]);
  await page.locator("#list .event .position .topic").first().hover();
  await page.getByRole("button", { name: "Filter: ask for the topic mixed alone at the next start", exact: true }).click();
  steps.same("one topic", await on(), ["mixed"]);
  await restarts(() => steps.start());
  steps.same("the next start asks for it", server.asked.at(-1).searchParams.getAll("where").at(-1), "value.note=a\\, b");
  await steps.reaches(1);
}

async function link() {
  steps.doing = "a link";
  await page.fill("#search", "order-1");
  await steps.press("#copy-link");
  const link = await steps.clipboard();
  const other = await browser.newPage();
  await other.goto(link);
  const there = new Steps(other, complaints);
  there.doing = "the link elsewhere";
  await there.enters("live");
  await there.reaches(1);
  for (const selector of ["#conditions .text", "#topic-chips [aria-pressed=true] .name", "#type-chips [aria-pressed=true] .name", "#titles .cell"]) {
    there.same(selector, await there.texts(selector), await steps.texts(selector));
  }
  for (const id of ["tenant", "from", "search"]) there.same(id, await other.inputValue(`#${id}`), await page.inputValue(`#${id}`));
  steps.checked += there.checked;
}
