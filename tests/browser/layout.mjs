// What is wrong with where things are on the page, as sentences.

/** What sticks out of its card or of the window, and which controls are hidden, cut off, or lie under something else. */
export async function flaws(page) {
  await page.evaluate(chartFollows);
  return page.evaluate(findFlaws);
}

// Runs in the page. A chart has the size of its place a few frames after the window has another one, which on a busy machine may be
// seconds.
async function chartFollows() {
  const until = performance.now() + 10_000;
  const right = (element) => element.getBoundingClientRect().right;
  const follows = (place) => place.scrollWidth <= place.clientWidth + 1 && Math.abs(right(place.querySelector("canvas")) - right(place)) < 2;
  const charts = () => [...document.querySelectorAll(".chart")].filter((place) => place.querySelector("canvas"));
  do {
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
  } while (!charts().every(follows) && performance.now() < until);
}

// Runs in the page.
function findFlaws() {
  /** Half a pixel is rounding. */
  const SLACK = 0.5;
  const found = new Set();
  const { scrollingElement } = document;
  const place = [scrollX, scrollY];
  if (scrollingElement.scrollWidth > innerWidth) found.add(`the page is ${scrollingElement.scrollWidth} wide in a window of ${innerWidth}`);

  const name = (element) => (element.id ? `#${element.id}` : `${element.localName} ${element.className} of ${nameAround(element)}`);
  const nameAround = (element) => {
    const named = element.closest("[id], [aria-label], [aria-labelledby]");
    return named?.id || named?.ariaLabel || named?.getAttribute("aria-labelledby") || "the page";
  };
  const sticksOut = (box, of) =>
    box.left < of.left - SLACK || box.right > of.right + SLACK || box.top < of.top - SLACK || box.bottom > of.bottom + SLACK;
  const clips = (element) => getComputedStyle(element).overflowX !== "visible";
  /** Whether it is cut off at its side without a sign of it, or would have to be scrolled sideways. */
  const cutsOff = (element) =>
    element.scrollWidth > element.clientWidth + 1 && clips(element) && getComputedStyle(element).textOverflow !== "ellipsis" &&
    !element.matches("input, textarea, .visually-hidden");
  /** Whether something between the two cuts off or scrolls what is wider than it: then nothing of it sticks out. */
  const isClipped = (from, card) => {
    for (let at = from; at !== card; at = at.parentElement) if (clips(at)) return true;
    return false;
  };
  const textBoxes = (element) => {
    const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return texts.flatMap((text) => {
      const range = document.createRange();
      range.selectNodeContents(text);
      return [...range.getClientRects()];
    });
  };

  for (const card of document.querySelectorAll(".card, header, .drawer")) {
    const of = card.getBoundingClientRect();
    if (of.right > innerWidth + SLACK || of.left < -SLACK) found.add(`${name(card)} sticks out of the window`);
    for (const element of card.querySelectorAll("*")) {
      const box = element.getBoundingClientRect();
      if (!box.width || !box.height || !element.checkVisibility()) continue;
      if (cutsOff(element)) found.add(`${name(element)} cuts off what is in it`);
      if (!isClipped(element.parentElement, card) && sticksOut(box, of)) found.add(`${name(element)} sticks out of its card`);
      if (!isClipped(element, card) && textBoxes(element).some((text) => sticksOut(text, of))) found.add(`the text of ${name(element)} sticks out of its card`);
    }
  }

  // Of the events only the first; the others are reached by scrolling.
  const controls = [...document.querySelectorAll("button, input, textarea, summary")];
  const first = controls.find((control) => control.closest("#list"));
  // What only one kind of window has, and the form that is folded to a line.
  const elsewhere = "[hidden], details:not([open]), [data-wide], [data-narrow], body:has(#fold[aria-expanded=false]) #form";
  for (const control of controls.filter((control) => !control.closest("#list") || control === first)) {
    if (!control.checkVisibility()) {
      if (!control.closest(elsewhere)) found.add(`${name(control)} is hidden`);
      continue;
    }
    control.scrollIntoView({ block: "center" });
    const box = control.getBoundingClientRect();
    // The button that opens a row is before its first cell.
    const place = control.closest(".toggle") ? control.closest(".event") : control.parentElement;
    const parent = place.getBoundingClientRect();
    const { paddingLeft, paddingRight } = getComputedStyle(place);
    const inner = { ...parent.toJSON(), left: parent.left + parseFloat(paddingLeft), right: parent.right - parseFloat(paddingRight) };
    if (sticksOut(box, inner)) found.add(`${name(control)} leaves its place`);
    const points = [[0.5, 0.5], [0, 0.5], [1, 0.5], [0.5, 0], [0.5, 1]];
    const inset = 3; // its corners are round
    for (const [x, y] of points) {
      const at = document.elementFromPoint(box.left + inset + x * (box.width - 2 * inset), box.top + inset + y * (box.height - 2 * inset));
      if (!at || !(control.contains(at) || at.contains(control) && at.localName === "label")) found.add(`${name(control)} lies under ${at ? name(at) : "the window's edge"}`);
    }
  }
  scrollTo(...place);
  return [...found];
}
