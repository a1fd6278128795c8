/** What the server has: names that it suggests to all, and the topics of a tenant. */

import { route } from "./stream-address.js";

/** Names, boards, and what to start with. Nothing where the server does not answer. */
export async function suggestions() {
  const none = { topics: [], tenants: [], boards: [], start: null };
  try {
    const answer = await fetch("console.json", { cache: "no-store" });
    return answer.ok ? { ...none, ...(await answer.json()) } : none;
  } catch {
    return none;
  }
}

const RENEW_MS = 5000;

/** Asks for the topics of a tenant every few seconds while the page is visible, until the server refuses them. */
export class Topics {
  #ontopics;
  #asked = null; // { tenant, token } of the present questions
  #isRefused = false;
  #timer = 0;

  /** @param {(topics: object[]) => void} ontopics */
  constructor(ontopics) {
    this.#ontopics = ontopics;
    document.addEventListener("visibilitychange", () => document.hidden || this.#ask());
  }

  /** From now on, for this tenant. */
  of(tenant, token) {
    const isSame = this.#asked && this.#asked.tenant === tenant && this.#asked.token === token;
    if (isSame && !this.#isRefused) return;
    this.#asked = { tenant, token };
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    const asked = this.#asked;
    if (!asked || document.hidden) return;
    const isOver = () => asked !== this.#asked;
    this.#isRefused = false;
    try {
      const headers = asked.token ? { Authorization: `Bearer ${asked.token}` } : {};
      const answer = await fetch(route(asked.tenant, "topics"), { cache: "no-store", headers });
      const isRefused = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
      const { topics } = answer.ok ? await answer.json() : {};
      if (isOver()) return;
      this.#isRefused = isRefused;
      if (topics) this.#ontopics(topics);
    } catch {
      // No server now.
    }
    if (!isOver() && !this.#isRefused) this.#timer = setTimeout(() => this.#ask(), RENEW_MS);
  }
}
