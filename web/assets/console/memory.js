/** Names that were used before, in the browser's storage: suggestions for the next time. */

const MOST = 40;

export function remembered(name) {
  try {
    return JSON.parse(localStorage.getItem(`tailrace.${name}`)) ?? [];
  } catch {
    return [];
  }
}

export function remember(name, value) {
  if (!value || remembered(name)[0] === value) return;
  try {
    localStorage.setItem(`tailrace.${name}`, JSON.stringify([...new Set([value, ...remembered(name)])].slice(0, MOST)));
  } catch {
    // A private window keeps nothing.
  }
}
