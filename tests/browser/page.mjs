// A headless browser, and in it one page on the console with everything that the page should not have done.

import { chromium, firefox } from "playwright-core";

/** Arguments: the bridge's address, the path of the browser, and which one it is: chromium or firefox. */
const [address, executablePath, kind] = process.argv.slice(2);

/** No step takes this long, in milliseconds, even on a busy machine. */
const PATIENCE_MS = 30_000;

const BROWSERS = {
  // Without a sandbox, for tests may run as root; without /dev/shm, which is small in a container.
  chromium: () => chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] }),
  // By this channel Playwright speaks WebDriver BiDi, which every Firefox understands; by default it wants one of its own.
  firefox: () => firefox.launch({ executablePath, channel: "moz-firefox" }),
};

export const launch = () => BROWSERS[kind]();

/** Gives the page, and a list to which its errors and its requests to other origins are added as they happen. */
export async function openConsole(at = address, options = {}) {
  const browser = await launch();
  return { browser, ...(await openPage(browser, at, options)) };
}

/** The same in a browser that runs. */
export async function openPage(browser, at, options = {}) {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(PATIENCE_MS);
  const { origin } = new URL(at);
  const complaints = [];
  // For whoever looks for the cause when the script ends before it has said them.
  process.on("exit", () => complaints.forEach((complaint) => console.error(complaint)));
  page.on("pageerror", (error) => complaints.push(`page error: ${error.stack ?? error}`));
  page.on("crash", () => complaints.push("the page crashed"));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`console error: ${message.text()} (${message.location().url})`);
  });
  page.on("websocket", (socket) => complaints.push(`a web socket to ${socket.url()}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    // The page's icon is a data: address; nothing is asked of anybody for it.
    if (url.protocol !== "data:" && url.origin !== origin) complaints.push(`a request to ${url}`);
  });
  await page.goto(at);
  return { page, complaints };
}
