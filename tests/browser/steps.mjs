// Steps on the console, and what was not as it should be, as sentences.

/** What a step may take, in milliseconds. */
const STEP_MS = 30_000;

export class Steps {
  /** What is being done: it begins each complaint. */
  doing = "";
  /** How many things were looked at: a script that looks at nothing finds nothing. */
  checked = 0;

  constructor(page, complaints) {
    this.page = page;
    this.complaints = complaints;
  }

  /** Does them one after the other; one that fails ends this, and is a complaint. */
  async all(...steps) {
    try {
      for (const step of steps) await step();
    } catch (error) {
      this.complain(error.stack);
    }
  }

  complain(what) {
    this.complaints.push(`${this.doing}: ${what}`);
  }

  expect(what, holds) {
    this.checked++;
    if (!holds) this.complain(`not so: ${what}`);
  }

  same(what, seen, wanted) {
    const [is, should] = [seen, wanted].map((value) => JSON.stringify(value));
    this.expect(`${what}: ${is}, wanted ${should}`, is === should);
  }

  text(selector) {
    return this.page.locator(selector).first().textContent();
  }

  texts(selector) {
    return this.page.locator(selector).allTextContents();
  }

  /** A counter. */
  async count(id) {
    return Number(await this.page.locator(`#${id}`).getAttribute("data-value"));
  }

  async comes(what, condition, argument) {
    this.checked++;
    return this.page.waitForFunction(condition, argument, { timeout: STEP_MS }).catch(() => this.complain(`did not come: ${what}`));
  }

  enters(state) {
    return this.comes(`the state ${state}`, (state) => document.getElementById("state").dataset.state === state, state);
  }

  reaches(events) {
    return this.comes(`event ${events}`, (events) => Number(document.getElementById("events").dataset.value) >= events, events);
  }

  says(selector, text) {
    return this.comes(`${selector} with ${text}`, ([selector, text]) => document.querySelector(selector)?.textContent.includes(text), [selector, text]);
  }

  // What is hidden or covered is complained of by the look; the click comes all the same, so that the rest is seen, too.
  async press(selector) {
    const target = this.page.locator(selector).first();
    await target.click({ timeout: STEP_MS }).catch(() => {
      this.complain(`${selector} cannot be clicked`);
      return target.dispatchEvent("click");
    });
  }

  cut() {
    return this.press(".cut-button:visible");
  }

  /** On a narrow window the form may be folded. */
  async unfold() {
    if (await this.page.locator("#fold[aria-expanded=false]").isVisible()) await this.press("#fold");
  }

  /** Fills the form; what is not given is emptied. */
  async fill({ tenant = "", topics = [], types = [], where = [], from = "" }) {
    const { page } = this;
    await this.unfold();
    for (const pressed of ["#topic-chips", "#type-chips"]) {
      const on = page.locator(`${pressed} button[aria-pressed=true]`);
      while (await on.count()) await on.first().click();
    }
    const removes = page.locator("#conditions .remove");
    while (await removes.count()) await removes.first().click();
    await page.fill("#tenant", tenant);
    await page.fill("#from", from);
    for (const [id, values] of [["topic", topics], ["type", types], ["where", where]]) {
      for (const value of values) {
        await page.fill(`#${id}`, value);
        await page.press(`#${id}`, "Enter");
      }
    }
  }

  async start() {
    await this.unfold();
    await this.press("#start");
  }

  /** Takes away the browser's own words for a refusal: an error in its eyes. */
  forget(status) {
    const others = this.complaints.splice(0).filter((complaint) => !complaint.includes(`status of ${status}`));
    this.complaints.push(...others);
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}
