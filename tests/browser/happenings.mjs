// What happens to a stream, on a server in the place of Tailrace: cuts, gaps, drains, a server that goes away; replays by the chart
// and by the slider; positions of many partitions; ids that are pasted; more events than can be drawn.
// Prints a line of JSON: how many things were looked at, and all that was wrong.

import { openConsole } from "./page.mjs";
import { StandIn, encodeId } from "./stand-in.mjs";
import { Steps } from "./steps.mjs";

const PARTITIONS = 200;
const MINUTE_MS = 60_000;
/** Events a second of the flood, and for how many seconds. */
const FLOOD = 10_000;
const SECONDS = 4;
/** The page does not stand still for so long; a machine that is busy otherwise may let it wait for seconds. */
const BUSY_MS = 10_000;
/** As version 2 of ids, which nobody but a server can read. */
const SEALED = Buffer.from([2, ...Array(47).fill(7)]).toString("base64url");

const server = new StandIn({ orders: 4, wide: PARTITIONS });
for (let ago = 8 * MINUTE_MS; ago > 0; ago -= 2_000) server.publish("orders", (ago / 2_000) % 4, { key: "a", value: { id: `past-${ago}` }, timestamp: Date.now() - ago });
const address = await server.start();
const { browser, page, complaints } = await openConsole(`${address}?tenant=acme&topics=orders&autostart=1`, { viewport: { width: 1400, height: 900 } });
const steps = new Steps(page, complaints);
const marks = (kind) => page.locator(`.mark-line.${kind}`).count();
let published = 0;
const publish = (topic = "orders", partition = published % 4) => server.publish(topic, partition, { key: "a", value: { id: `new-${published++}` } });
const log = () => steps.texts("#lane li b");

await steps.enters("live");
await steps.all(cuts, gaps, goesAway, replayBySlider, replayByDrag, decoder, many, sealed, flood, refusals);
await browser.close();
await server.stop();
console.log(JSON.stringify({ checked: steps.checked, complaints }));
// Timers of streams that were cut would keep it running.
process.exit();

async function cuts() {
  steps.doing = "cuts";
  for (let n = 0; n < 5; n++) publish();
  await steps.reaches(5);
  await steps.comes("the five are compared", () => document.getElementById("lost").dataset.verified === "5");
  steps.same("the verdict", await steps.text("#verdict"), "No cut yet, 5 compared, all there once.");
  for (let cut = 1; cut <= 3; cut++) {
    const left = steps.comes("a state that is not live", () => document.getElementById("state").dataset.state !== "live");
    await steps.cut();
    await left;
    publish();
    await steps.enters("live");
  }
  await steps.reaches(8);
  await steps.comes("the verdict", () => document.getElementById("verdict").textContent === "3 cuts, 8 compared, all there once.");
  steps.same("the marks on the chart", await marks("cut"), 3);
  await steps.comes("a latency", () => /^\d+ ms$/.test(document.getElementById("p50").textContent) && document.getElementById("p99").textContent !== "–");
  steps.expect("the latency says what it is", (await page.locator("#p99-tile").getAttribute("title")).includes("Now minus the record's timestamp"));
}

async function gaps() {
  steps.doing = "gaps, drains, states";
  server.tell("tailrace.gap", { code: "retention", topic: "orders", partition: 1, from: 5, to: 9 });
  await steps.says("#lane", "orders 1, 5 to 9. Kafka no longer has them.");
  server.tell("tailrace.gap", { code: "truncated", topic: "orders", partition: 3, from: 5, next: 4 });
  await steps.says("#lane", "orders 3, 5 to the end; on at 4. The log was cut back.");
  server.tell("tailrace.status", { code: "kafka_unavailable", message: "no broker answers" });
  await steps.says("#lane", "no broker answers");
  server.tell("tailrace.drain", { code: "draining", retry_ms: 2500 });
  await steps.says("#lane", "back in 2.5 s");
  steps.expect("the newest is below, too", (await steps.text("#newest")).includes("Drain"));
  await steps.comes("their marks", () => ["gap", "status", "drain"].every((kind) => document.querySelector(`.mark-line.${kind}`)));
  // Labels that have no room are left out, their lines are not.
  const labels = await page.locator(".mark-line .label").evaluateAll((all) => all.map((label) => label.getBoundingClientRect()).sort((a, b) => a.left - b.left).map(({ left, right }) => [left, right]));
  steps.expect("labels do not overlap", labels.every(([left], i) => i === 0 || left >= labels[i - 1][1] - 1));
  // Of the drain's connection.
  server.cutAll();
  await steps.comes("the reconnect", () => document.querySelector(".mark-line.lost") && document.querySelector(".mark-line.back"));
  await steps.enters("live");
}

async function goesAway() {
  steps.doing = "a server that goes away";
  const before = await steps.count("events");
  await server.stop();
  await steps.comes("a state that is not live", () => document.getElementById("state").dataset.state !== "live");
  await steps.comes("what is wrong", () => /Reconnecting|No connection/.test(document.getElementById("lane").textContent));
  publish();
  await page.waitForTimeout(1500);
  publish();
  await server.start();
  await steps.enters("live");
  await steps.reaches(before + 2);
  await steps.comes("all are compared", (events) => document.getElementById("lost").dataset.verified === `${events}`, before + 2);
  steps.same("nothing is lost or repeated", [await steps.count("lost"), await steps.count("repeated")], [0, 0]);
  steps.expect("the log is bounded", (await log()).length <= 100);
  // The browser's words for a server that is not there.
  complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/.test(complaint)));
}

async function replayBySlider() {
  steps.doing = "the slider";
  steps.expect("it has no time yet", await page.isDisabled("#replay-start"));
  await page.focus("#replay");
  for (let n = 0; n < 12; n++) await page.keyboard.press("ArrowLeft");
  steps.expect("it says where it stands", (await steps.text("#replay-at")).startsWith("2 min ago, "));
  steps.same("it says so to a screen reader", await page.getAttribute("#replay", "aria-valuetext"), await steps.text("#replay-at"));
  steps.expect("it is shown on the chart", await page.isVisible(".replay-line"));
  await page.keyboard.press("Enter");
  await replayed(2 * MINUTE_MS);
  await page.focus("#replay");
  for (let n = 0; n < 6; n++) await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await replayed(MINUTE_MS);
  // Until the records of the next minutes are on the chart.
  await page.fill("#from", "earliest");
  await steps.start();
  await steps.reaches(240);
}

/** The stream was asked for from so long ago, and what is on the page is younger. */
async function replayed(ago) {
  await steps.enters("live");
  await steps.comes("a time in the form", () => document.getElementById("from").value.startsWith("20"));
  const from = Date.parse(await page.inputValue("#from"));
  steps.expect(`it is asked from ${new Date(from).toISOString()}`, Math.abs(Date.now() - ago - from) < 20_000);
  const wanted = server.asked.at(-2).searchParams.get("from") ?? "";
  steps.same("the witness asks for it", Date.parse(wanted), from);
  await steps.comes("records of that time", () => document.querySelectorAll("#list > .event").length > 5);
  const oldest = await page.locator("#list > .event .time").last().textContent();
  steps.expect(`the oldest is of ${oldest}`, oldest >= new Date(from - 1000).toLocaleTimeString("en-GB"));
}

async function replayByDrag() {
  steps.doing = "dragging on the chart";
  // Ten minutes are shown.
  await page.waitForTimeout(1200);
  const over = await page.locator(".u-over").boundingBox();
  const at = (share) => over.x + over.width * share;
  const y = over.y + over.height / 2;
  await page.mouse.move(at(0.5), y);
  await page.mouse.down();
  await page.mouse.move(at(0.55), y, { steps: 4 });
  await page.mouse.move(at(0.6), y, { steps: 4 });
  await page.mouse.up();
  await steps.comes("a replay", () => document.getElementById("from").value.startsWith("20"));
  await replayed(5 * MINUTE_MS);
  steps.expect("the chart says its rates", /Now: orders [\d.]+/.test(await page.getAttribute("#chart", "aria-label")));
  steps.same("the legend", await steps.texts("#legend .name"), ["orders"]);
  const before = server.asked.length;
  await page.mouse.click(at(0.4), y);
  await page.waitForTimeout(300);
  steps.same("a click alone does nothing", server.asked.length, before);
}

async function decoder() {
  steps.doing = "the decoder";
  await steps.press("#tab-id");
  await steps.says("#decoded", "orders");
  steps.same("it follows the stream", await steps.text("#decoded .raw"), await newestId());
  const good = encodeId(new Map([["orders", [0, 1, 2, 3_000_000_000]], ["unheard of", [7]]]));
  await page.fill("#paste", good);
  steps.expect("what it says", (await steps.text("#decoded")).includes(`Version 1, ${good.length} characters, 5 partitions`));
  steps.same("its offsets", await steps.texts("#decoded .offset"), ["00", "11", "22", "33000000000", "07"]);
  steps.expect("a topic without a known name", /topic [0-9a-f]{6}/.test(await steps.text("#decoded .topic:nth-of-type(2) .name")) || (await steps.texts("#decoded .name")).some((name) => /^topic [0-9a-f]{6}$/.test(name)));
  const says = async (id, text) => {
    await page.fill("#paste", id);
    steps.expect(`"${text}" of ${id.slice(0, 12)}`, (await steps.text("#decoded")).includes(text));
  };
  await says(`${good.slice(0, 10)}${good[10] === "A" ? "B" : "A"}${good.slice(11)}`, "checksum does not match");
  await says(good.slice(0, -4), "checksum does not match");
  await says("no id at all", "letters, digits, - and _ alone");
  await says("abcde", "not base64url");
  await says(SEALED, "sealed: only the server can read it");
  await says(Buffer.from([3, 0, 0, 0, 0]).toString("base64url"), "of version 3");
  await steps.press("#newest-id");
  steps.same("the newest again", await steps.text("#decoded .raw"), await newestId());
  await steps.press("#drawer-toggle");
  steps.expect("the drawer is closed", !(await page.isVisible("#panels")));
}

/** That of the newest event, as the stand-in would give it: of all topics of the subscription. */
function newestId() {
  return server.newestId(["orders"]);
}

async function many() {
  steps.doing = `${PARTITIONS} partitions`;
  await steps.fill({ tenant: "acme", topics: ["wide"] });
  await steps.start();
  await steps.enters("live");
  for (let partition = 0; partition < PARTITIONS; partition++) publish("wide", partition);
  await steps.reaches(PARTITIONS);
  await steps.comes("a bar for each", (count) => document.querySelectorAll("#positions .partition").length === count, PARTITIONS);
  await steps.says("#behind", "at the end");
  const meter = page.locator("#positions [role=meter]").nth(7);
  steps.expect("a bar says where it is", /^next offset 1, of 0 to [01]: at the end$/.test(await meter.getAttribute("aria-valuetext")));
  // What the stream does not have yet: of a topic whose records do not match, it is behind until the next id.
  await steps.fill({ tenant: "acme", topics: ["wide"], where: ["key=b"] });
  await steps.start();
  await steps.enters("live");
  server.isCalm = true;
  for (let n = 0; n < 30; n++) publish("wide", 3);
  await steps.says("#behind", "behind by 30");
  await steps.says("#positions .partition.late .behind", "−30");
  server.isCalm = false;
  await steps.says("#behind", "at the end");
}

async function sealed() {
  steps.doing = "sealed ids";
  server.disguise = () => SEALED;
  await steps.fill({ tenant: "acme", topics: ["orders"] });
  await steps.start();
  await steps.enters("live");
  publish();
  await steps.reaches(1);
  await steps.says("#positions", "Ids are sealed");
  await steps.press("#tab-id");
  await steps.says("#decoded .refused", "only the server can read it");
  await steps.press("#drawer-toggle");
  await steps.comes("what is heard is compared all the same", () => document.getElementById("lost").dataset.verified === "1");
  server.disguise = (id) => id;
}

async function flood() {
  steps.doing = "a flood";
  await steps.fill({ tenant: "acme", topics: ["orders"] });
  await steps.start();
  await steps.enters("live");
  await page.evaluate(() => {
    window.busy = 0;
    let last = performance.now();
    window.watch = setInterval(() => {
      window.busy = Math.max(window.busy, performance.now() - last);
      last = performance.now();
    }, 20);
  });
  const total = FLOOD * SECONDS;
  let sent = 0;
  const begun = Date.now();
  while (sent < total) {
    for (const due = Math.min(total, ((Date.now() - begun) / 1000) * FLOOD); sent < due; sent++) publish();
    await new Promise((done) => setTimeout(done, 10));
  }
  await steps.press("#pause");
  steps.expect("it can be paused", (await steps.text("#pause")).startsWith("Go on"));
  await page.waitForFunction((total) => Number(document.getElementById("events").dataset.value) === total, total, { timeout: 30_000 }).catch(() => steps.complain("not all of them came"));
  await steps.comes("all are compared", (total) => document.getElementById("lost").dataset.verified === `${total}`, total);
  steps.same("nothing is lost or repeated", [await steps.count("lost"), await steps.count("repeated")], [0, 0]);
  const busy = await page.evaluate(() => (clearInterval(window.watch), window.busy));
  steps.expect(`the page stood still for ${Math.round(busy)} ms`, busy < BUSY_MS);
  await steps.press("#pause");
  await steps.comes("the newest rows", () => document.querySelectorAll("#list > .event").length === 200);
  // What is open stays, however many come.
  await page.locator("#list .toggle").nth(3).click();
  const open = await page.locator("#list .open .toggle").getAttribute("aria-label");
  for (let n = 0; n < 1000; n++) publish();
  await steps.reaches(total + 1000);
  await page.waitForTimeout(500);
  steps.same("the open row is still there", await page.locator("#list .open .toggle").getAttribute("aria-label"), open);
  steps.same("there are no more rows", await page.locator("#list > .event").count(), 200);
}

async function refusals() {
  steps.doing = "refusals";
  await steps.fill({ tenant: "acme", where: ["key=a", "value.total==1"] });
  await steps.start();
  await steps.enters("refused");
  steps.expect("where it is wrong", (await steps.text("#empty-text")).includes("where 2, column 13: an operator within a value"));
  steps.same("the condition is marked", await steps.texts("#conditions .token.refused .text"), ["value.total==1"]);
  await steps.fill({ tenant: "acme", topics: ["orders", "nothing"] });
  await steps.start();
  await steps.says("#empty-text", "topic 2: it is not served");
  steps.same("the topic is marked", await steps.texts("#topic-chips .refused .name"), ["nothing"]);
  steps.expect("it can be started, not stopped", (await page.isDisabled("#stop")) && (await steps.text("#start")) === "Start" && (await page.isDisabled("#cut")));
  // For a while.
  server.problem = { title: "The server is not ready", status: 503, code: "not_ready", detail: "soon" };
  await steps.fill({ tenant: "acme", topics: ["orders"] });
  await steps.start();
  await steps.says("#empty strong", "Not yet");
  server.problem = null;
  await steps.enters("live");
  for (const status of [400, 404, 503]) steps.forget(status);
}
