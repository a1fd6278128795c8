/** The subscription's fields: what is chosen, and what there is to choose from. */

import { Chips } from "./chips.js";
import { Conditions } from "./conditions.js";
import { $, button, make } from "./dom.js";
import { remember, remembered } from "./memory.js";

/** Until chips that are switched one after the other have an effect together. */
const TOGETHER_MS = 400;

export class Form {
  #topics;
  #types;
  #where;
  #served = { topics: [], tenants: [] };

  /**
   * @param {object} on  start(): asked for; stop(); edited(): something is different; switched(): a chip or a condition is;
   *                     tenant(): it may be another one
   */
  constructor(on) {
    let timer = 0;
    const switched = () => {
      on.edited();
      clearTimeout(timer);
      timer = setTimeout(on.switched, TOGETHER_MS);
    };
    this.#topics = new Chips($("topic-chips"), $("topic"), { sorted: true, onchange: switched });
    this.#types = new Chips($("type-chips"), $("type"), { onchange: switched });
    this.#where = new Conditions($("conditions"), $("where"), switched);
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      on.start();
    });
    $("form").addEventListener("input", on.edited);
    for (const id of ["tenant", "token"]) $(id).addEventListener("change", () => this.#tenantChanged(on));
    $("stop").addEventListener("click", on.stop);
    // A start has what is typed, and replaces what a chip would start.
    this.settle = () => {
      clearTimeout(timer);
      for (const field of [this.#topics, this.#types, this.#where]) field.take();
    };
    this.onpick = () => {
      this.#tenantChanged(on);
      on.edited();
      on.switched();
    };
    $("fold").addEventListener("click", () => this.fold($("fold").getAttribute("aria-expanded") === "true"));
    this.suggest();
  }

  get choice() {
    return {
      tenant: $("tenant").value.trim(),
      topics: this.#topics.selected,
      types: this.#types.selected,
      where: this.#where.list,
      from: $("from").value.trim(),
    };
  }

  set choice({ tenant = "", topics = [], types = [], where = [], from = "" }) {
    $("tenant").value = tenant;
    this.#topics.selected = topics;
    this.#types.selected = types;
    this.#where.list = where;
    $("from").value = from;
    this.#press();
  }

  get token() {
    return $("token").value;
  }

  set from(text) {
    $("from").value = text;
  }

  addCondition(condition) {
    this.#where.add(condition);
  }

  onlyTopic(name) {
    this.#topics.only(name);
  }

  onlyType(name) {
    this.#types.only(name);
  }

  /** Names that the server suggests. */
  serve(served) {
    this.#served = served;
    this.#topics.offer(served.topics);
    $("tenants-group").hidden = !served.tenants.length;
    if (served.tenants.length) $("tenant").placeholder = "one of many";
    // Once, for a button that is replaced loses the focus; they stay the same as long as the server runs.
    if (!$("tenant-chips").childElementCount) {
      const pick = (tenant) => {
        $("tenant").value = tenant;
        this.onpick();
      };
      $("tenant-chips").append(...served.tenants.map((tenant) => button(tenant, () => pick(tenant), { title: tenant })));
    }
    this.#press();
    this.suggest();
  }

  /** Topics of the tenant, with their rates, and the types of their records. */
  offer(topics, rate) {
    this.#topics.offer(topics.map(({ topic }) => topic));
    for (const { topic, rate: now } of topics) this.#topics.note(topic, `${rate(now ?? 0)}/s`);
    this.offerTypes(topics.flatMap(({ types = [] }) => types));
    this.suggest();
  }

  /** A topic that a record came from. */
  offerTopic(topic) {
    this.#topics.offer([topic]);
  }

  offerTypes(types) {
    this.#types.offer(types);
  }

  /** What was used is suggested the next time. */
  remember({ tenant, topics, types }) {
    remember("tenants", tenant);
    topics.forEach((topic) => remember("topics", topic));
    types.forEach((type) => remember("types", type));
    this.suggest();
  }

  suggest() {
    fill("tenants", [...this.#served.tenants, ...remembered("tenants")]);
    fill("topic-names", [...this.#served.topics, ...remembered("topics")]);
    fill("type-names", remembered("types"));
  }

  /** Shows which field the server refused; null: none. */
  refuse(problem) {
    const { parameter, index = 0, status, code, topic } = problem ?? {};
    const { topics, types } = problem ? this.choice : { topics: [], types: [] };
    $("tenant").setAttribute("aria-invalid", code === "bad_tenant");
    $("from").setAttribute("aria-invalid", parameter === "from");
    this.#where.mark(parameter === "where" ? index : undefined);
    this.#topics.mark(parameter === "topic" ? topic ?? topics[index] : undefined);
    this.#types.mark(parameter === "type" ? types[index] : undefined);
    if (status === 401 || status === 403) $("access").open = true;
    if (problem) this.fold(false);
  }

  /** On a narrow window, the form is one line while it is folded. */
  fold(isFolded) {
    $("fold").setAttribute("aria-expanded", !isFolded);
    document.body.classList.toggle("folded", isFolded);
  }

  #tenantChanged(on) {
    this.#types.forget();
    this.#press();
    on.tenant();
  }

  #press() {
    for (const chip of $("tenant-chips").children) chip.setAttribute("aria-pressed", chip.textContent === $("tenant").value.trim());
  }
}

function fill(list, names) {
  const options = [...new Set(names)];
  const known = [...$(list).children].map(({ value }) => value);
  if (options.join("\n") !== known.join("\n")) $(list).replaceChildren(...options.map((value) => make("option", { value })));
}
