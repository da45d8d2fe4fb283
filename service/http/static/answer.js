/** A text that the model writes, word by word; every word can be asked for others in its place. */

import { Chips, MOST, shown } from "./chips.js";
import { announce, byId, make } from "./dom.js";
import { milliseconds, percent, say } from "./language.js";
import { neighbour } from "./tabs.js";

const FINISHES = { length: "finishLength", eos_token: "finishEnd", stop_sequence: "finishStop", stopped: "finishStopped" };

export class Answer {
  model = ""; // that writes it, also on after a word that was chosen
  #prompt = "";
  #words = []; // { text, logprob, special, top }; text: with the space before it
  #first = 0; // where the model went on
  #open = -1; // the word whose alternatives are shown
  #alternatives;
  #figures = null;
  #version = ""; // of the model, as the service names it
  #goOn;

  /** goOn: called when a word was chosen in place of another, and all after it are gone. */
  constructor(goOn) {
    this.#goOn = goOn;
    this.#alternatives = new Chips(byId("alternatives"), (word) => this.#choose(word));
    byId("answer").addEventListener("keydown", (event) => this.#press(event));
    byId("answer-box").addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
  }

  /** How many words were written; the end of a sentence is none. */
  get length() {
    return this.#words.filter(({ special }) => !special).length;
  }

  /** The whole text, the prompt too. */
  get text() {
    return this.#prompt + this.#words.map((word) => (word.special ? "" : word.text)).join("");
  }

  begin(prompt, model) {
    this.#prompt = prompt;
    this.model = this.#version = model;
    byId("answer-box").hidden = false;
    this.#keep(0);
  }

  /** From now on there are more words to come. */
  wait() {
    this.#figures = null;
    byId("answer").setAttribute("aria-busy", "true");
    byId("answer-figures").textContent = "";
  }

  /** One more word, and what else might have stood there. */
  add(token, top) {
    const text = /(^|\s)$/.test(this.text) ? token.text.trimStart() : token.text;
    const word = { ...token, top, text };
    this.#draw(word, this.#words.push(word) - 1);
  }

  /** The first word that was written on; it is told without its space, which it has among the likeliest, and most others have. */
  addFirst(token, top) {
    const known = top.find((other) => other.id === token.id);
    this.#first = this.#words.length;
    this.add({ ...token, text: known?.text ?? (/^[\p{L}\p{N}]/u.test(token.text) ? ` ${token.text}` : token.text) }, top);
  }

  /** whole: the text as the service has it, which says whether there was a space before that word. */
  settle(whole) {
    const word = this.#words[this.#first];
    const rest = this.#words.slice(this.#first).map(({ text, special }) => (special ? "" : text)).join("").trimStart();
    const spaced = whole.slice(0, whole.length - rest.length).endsWith(" ");
    const text = `${spaced ? " " : ""}${word.text.trimStart()}`;
    if (text === word.text) return;
    word.text = text;
    this.#drawAll();
  }

  /** figures: finish and seed; firstMs, totalMs and the model's version where something was written just now. */
  end(figures) {
    this.#figures = figures;
    this.#version = figures.version ?? this.#version;
    byId("answer").setAttribute("aria-busy", "false");
    this.#tellFigures();
    announce(this.text);
  }

  /** The same in another language. */
  speak() {
    this.#close();
    this.#drawAll();
    this.#tellFigures();
  }

  #tellFigures() {
    if (!this.#figures) return;
    const { finish, firstMs, totalMs, seed } = this.#figures;
    const told = [say("figures", { words: this.length })];
    if (firstMs) told.push(say("times", { first: milliseconds(firstMs), total: milliseconds(totalMs) }));
    told.push(say(FINISHES[finish]));
    if (seed !== null) told.push(say("seedTold", { seed }));
    byId("answer-figures").textContent = [...told, this.#version].join(" · ");
  }

  /** The first count words stay. */
  #keep(count) {
    this.#close();
    this.#words.length = count;
    this.#drawAll();
  }

  #drawAll() {
    byId("answer").replaceChildren(make("span", { className: "prompt", textContent: this.#prompt }));
    for (const [place, word] of this.#words.entries()) this.#draw(word, place);
  }

  /** Pieces without a space between them stand on one line. */
  #draw(word, place) {
    const answer = byId("answer");
    if (word.special || /^\s/.test(word.text)) answer.append(" ");
    const joins = place && answer.lastChild.nodeType === Node.ELEMENT_NODE;
    const run = joins ? answer.lastChild : make("span", { className: "run" });
    run.append(this.#button(word, place));
    if (!joins) answer.append(run);
  }

  #button(word, place) {
    const className = word.special ? "word special" : "word";
    const button = make("button", { type: "button", className, tabIndex: place ? -1 : 0 });
    button.textContent = word.special ? shown(word) : word.text.trim() || "␣";
    button.setAttribute("aria-label", say("alternative", { word: shown(word), share: percent(Math.exp(word.logprob)) }));
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => (place === this.#open ? this.#close() : this.#show(place)));
    return button;
  }

  #show(place) {
    this.#close();
    this.#open = place;
    const word = this.#words[place];
    this.#buttons[place].setAttribute("aria-expanded", "true");
    byId("alternatives-title").textContent = say("alternatives", { word: shown(word) });
    byId("alternatives-box").hidden = false;
    this.#alternatives.show(word.top.slice(0, MOST));
    this.#alternatives.focus();
  }

  #close() {
    const button = this.#buttons[this.#open];
    button?.setAttribute("aria-expanded", "false");
    if (byId("alternatives-box").contains(document.activeElement)) button?.focus();
    this.#open = -1;
    byId("alternatives-box").hidden = true;
  }

  #choose(word) {
    const place = this.#open;
    const { top } = this.#words[place];
    this.#keep(place);
    this.add(word, top);
    this.#buttons[place].focus();
    this.#goOn(word);
  }

  get #buttons() {
    return byId("answer").querySelectorAll("button");
  }

  #press(event) {
    const buttons = [...this.#buttons];
    const next = buttons[neighbour(event.key, buttons.indexOf(event.target), buttons.length)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}
