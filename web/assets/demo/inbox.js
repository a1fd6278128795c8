/** An inbox on its page: a row for each notification, whose it is, what is unread, and what is stored. */
import { $, age, eachFrame, element, glide, tenant } from "./board.js";

const users = $("users").elements.user;
const isUnread = ({ isRead }) => !isRead;

export class InboxView {
  #on;
  #inbox; // {id, items}
  #place; // where it is stored
  #kept = 0; // items that were there before the stream
  #rows = new Map(); // place in Kafka -> element
  #draw = eachFrame(() => glide(".notice", () => this.#drawRows()));

  /** @param {object} on  user(): another one is chosen; read(items); forget() */
  constructor(on) {
    this.#on = on;
    const named = new URLSearchParams(location.search).get("user");
    if ([...users].some(({ value }) => value === named)) users.value = named;
    $("users").addEventListener("change", () => {
      history.replaceState(null, "", `?${new URLSearchParams({ tenant, user: this.user })}`);
      on.user();
    });
    $("read").addEventListener("click", () => on.read(this.#inbox.items));
    $("reload").addEventListener("click", () => location.reload());
    $("forget").addEventListener("click", on.forget);
    setInterval(tellAges, 1000);
  }

  get user() {
    return users.value;
  }

  /** The title at once, for whoever has the page in the background, where nothing is drawn. */
  show(inbox, place) {
    this.#inbox = inbox;
    this.#place = place;
    const unread = inbox.items.filter(isUnread).length;
    document.title = `${unread ? `(${unread}) ` : ""}Notifications · Tailrace`;
    this.#draw();
  }

  /** So many items were there before the stream was opened. */
  keeps(count) {
    this.#kept = count;
    $("kept").textContent = "";
  }

  /** So many came since: told once, when the stream is where it was. */
  isBack(replayed) {
    const { items } = this.#inbox;
    const twice = items.length - new Set(items.map(({ at }) => at)).size;
    if (this.#kept) $("kept").textContent = `${this.#kept} were kept in this browser, ${replayed} came since, ${twice || "none"} twice.`;
    this.#kept = 0;
  }

  #drawRows() {
    const { id, items } = this.#inbox;
    const unread = items.filter(isUnread).length;
    $("unread").textContent = `${unread} unread`;
    $("read").disabled = !unread;
    for (const [at, row] of this.#rows) {
      if (items.some((item) => item.at === at)) continue;
      this.#rows.delete(at);
      row.remove();
    }
    for (const item of items.toReversed()) {
      if (!this.#rows.has(item.at)) $("inbox").prepend(this.#row(item));
    }
    for (const item of items) this.#rows.get(item.at).classList.toggle("unread", isUnread(item));
    $("empty").hidden = this.#rows.size > 0;
    $("key").textContent = this.#place;
    $("last").textContent = id || "–";
    tellAges();
  }

  #row({ at, from, text, kind, time }) {
    const face = element("i", { className: `face ${kind}`, textContent: from[0], ariaHidden: "true" });
    const words = element("span", { className: "text" }, element("b", { textContent: from }), text.slice(from.length));
    const button = element("button", { type: "button" }, face, words, element("time", { dateTime: new Date(time).toISOString() }));
    button.addEventListener("click", () => this.#on.read(this.#inbox.items.filter((item) => item.at === at)));
    this.#rows.set(at, element("li", { className: "notice" }, button));
    return this.#rows.get(at);
  }
}

function tellAges() {
  for (const time of document.querySelectorAll("#inbox time")) time.textContent = age(new Date(time.dateTime));
}
