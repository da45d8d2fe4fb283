/** Words to choose from, each with a bar for its probability: by mouse, by arrows and Enter, or by its number. */

import { make } from "./dom.js";
import { percent, say } from "./language.js";
import { neighbour } from "./tabs.js";

export const MOST = 8;

export class Chips {
  #list;
  #chips = [];
  #words = [];
  #take;

  /** take: called with the word that was chosen. */
  constructor(list, take) {
    this.#list = list;
    this.#take = take;
    list.addEventListener("keydown", (event) => this.#press(event));
  }

  get words() {
    return this.#words;
  }

  /** Words as the service tells them, the likeliest first. Elements are kept: this happens at every key. */
  show(words) {
    this.#words = words.slice(0, MOST);
    while (this.#chips.length < this.#words.length) this.#chips.push(this.#make(this.#chips.length));
    for (const [place, word] of this.#words.entries()) this.#fill(this.#chips[place], word);
    for (const [place, chip] of this.#chips.entries()) chip.item.hidden = place >= this.#words.length;
  }

  clear() {
    this.show([]);
  }

  focus() {
    this.#chips[0]?.button.focus();
  }

  /** Takes the word of this place, from 0; whether there is one. */
  take(place) {
    const word = this.#words[place];
    if (word) this.#take(word);
    return word !== undefined;
  }

  #make(place) {
    const number = make("kbd", { textContent: String(place + 1), "aria-hidden": "true" });
    const [text, share, bar] = ["text", "share", "bar"].map((className) => make("span", { className }));
    const track = make("span", { className: "track" }, bar);
    const button = make("button", { type: "button", className: "chip", tabIndex: place ? -1 : 0 }, number, text, share, track);
    button.addEventListener("click", () => this.take(place));
    const item = make("li", {}, button);
    this.#list.append(item);
    return { item, button, text, share };
  }

  #fill({ button, text, share }, word) {
    const probability = Math.exp(word.logprob);
    text.textContent = shown(word);
    share.textContent = percent(probability);
    // Full is certainty; by its root, for next words seldom have more than a few hundredths, and as they are would all look empty.
    button.style.setProperty("--share", Math.sqrt(probability));
  }

  #press(event) {
    const place = this.#chips.findIndex(({ button }) => button === event.target);
    const number = Number(event.key);
    const next = this.#chips[neighbour(event.key, place, this.#words.length)];
    if (next) next.button.focus();
    else if (!(number >= 1 && this.take(number - 1))) return;
    event.preventDefault();
  }
}

/** A word as people read it; the space before a sign is told, since the sign alone is another word. */
export function shown({ text, special }) {
  if (special) return say("sentenceEnd");
  return /^\s/.test(text) && !/[\p{L}\p{N}]/u.test(text) ? `␣${text.trim()}` : text.trim();
}
