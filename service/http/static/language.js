/** Which language the page speaks, and putting its texts where they belong. */

import { english } from "./english.js";
import { korean } from "./korean.js";
import { recall, remember } from "./memory.js";

const TEXTS = { ko: korean, en: english };
const KEPT = "seqserve.language";
const listeners = [];
const formats = new Map(); // to make one takes longer than to use it, and percentages change at every key
let language = recall(KEPT) ?? (navigator.language.startsWith("ko") ? "ko" : "en");

/** The sentence of this name, with its values. */
export function say(name, values = {}) {
  return TEXTS[language][name].replace(/\{(\w+)\}/g, (_, value) => values[value]);
}

/** A number as people write it here. */
export function number(value, options = {}) {
  const name = language + JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat(language, options));
  return formats.get(name).format(value);
}

export function percent(share) {
  const digits = share >= 0.1 ? 0 : 1;
  return number(share, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Called after the language has changed, for what is not in the page itself. */
export function whenSpoken(listener) {
  listeners.push(listener);
}

function apply() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text, { label: "…" });
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = say(element.dataset.placeholder);
  for (const listener of listeners) listener();
}

/** Speaks from now on, in the language that the select says. */
export function startLanguage(select) {
  select.value = language;
  select.addEventListener("change", () => {
    language = select.value;
    remember(KEPT, language);
    apply();
  });
  apply();
}
