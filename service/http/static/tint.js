/** A text with every word tinted by its influence: for the label that was found, or against it. */

import { make } from "./dom.js";
import { number } from "./language.js";

const NAMED = 3; // words that are told in a sentence, for who does not see colours

/** The words' elements with what stands between them; attributions: in order, their places in Unicode's characters. */
export function tinted(text, attributions) {
  const characters = Array.from(text);
  const strongest = Math.max(...attributions.map(({ influence }) => Math.abs(influence ?? 0)), Number.MIN_VALUE);
  const pieces = [];
  let at = 0;
  for (const { start, end, influence } of attributions) {
    pieces.push(characters.slice(at, start).join(""), word(characters.slice(start, end).join(""), influence ?? 0, strongest));
    at = end;
  }
  return [...pieces, characters.slice(at).join("")];
}

/** The words that do most, with signs. */
export function strongestWords(attributions) {
  const sorted = attributions.filter(({ influence }) => influence).sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence));
  return sorted.slice(0, NAMED).map(({ text, influence }) => `${text} (${signed(influence)})`).join(", ");
}

function word(text, influence, strongest) {
  const element = make("span", { className: influence < 0 ? "tint against" : "tint for", textContent: text, title: signed(influence) });
  element.style.setProperty("--weight", Math.abs(influence) / strongest);
  return element;
}

function signed(influence) {
  return number(influence, { signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 });
}
