/** Tabs as ARIA has them: one of them is reached by Tab, the others by arrows. */

/** @param {(tab: HTMLElement) => void} onselect */
export function tabs(list, onselect) {
  const all = () => [...list.querySelectorAll("[role=tab]")];
  const select = (tab) => {
    for (const other of all()) {
      other.setAttribute("aria-selected", other === tab);
      other.tabIndex = other === tab ? 0 : -1;
    }
    onselect(tab);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const tabs = all();
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: (at + 1) % tabs.length, ArrowLeft: (at + tabs.length - 1) % tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    select(tabs[to]);
    tabs[to].focus();
  });
  return select;
}
