/** Tabs and their panels: one is seen, and arrows go from one to the next. */

import { byId } from "./dom.js";

/** whenShown: called with the id of the panel. */
export function startTabs(list, whenShown) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const show = (shown) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === shown));
      tab.tabIndex = tab === shown ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = tab !== shown;
    }
    whenShown(shown.getAttribute("aria-controls"));
  };
  list.addEventListener("keydown", (event) => {
    const place = tabs.indexOf(event.target);
    const next = tabs[neighbour(event.key, place, tabs.length)];
    if (!next) return;
    event.preventDefault();
    next.focus();
    show(next);
  });
  for (const tab of tabs) tab.addEventListener("click", () => show(tab));
  show(tabs[0]);
}

/** Where a key leads from one of several places in a row; undefined for other keys. */
export function neighbour(key, place, count) {
  return { ArrowRight: (place + 1) % count, ArrowLeft: (place + count - 1) % count, Home: 0, End: count - 1 }[key];
}
