/** Next words after what is typed: asked for at every change of its words, at once; of several questions the last one alone is answered. */

import { Chips, MOST, shown } from "./chips.js";
import { announce, byId } from "./dom.js";
import { say } from "./language.js";
import { clearNotice, tell } from "./notice.js";
import { ask } from "./service.js";

const PAUSE_MS = 1200; // after which who does not see the page hears what there is to choose from

/** What is asked of the service for a text. */
export function question(text, model) {
  return { inputs: text, model, parameters: { max_new_tokens: 1, details: true, top_n_tokens: MOST } };
}

export class Suggestions {
  #chips;
  #list;
  #asked = new AbortController();
  #question = "";
  #found = null; // the answer to it, when it has come
  #text = "";
  #pause = 0;

  /** take: called with the word that was chosen. */
  constructor(list, take) {
    this.#list = list;
    this.#chips = new Chips(list, take);
  }

  /** Shows what may follow a text; list.dataset.after is then the text. */
  async after(text, model) {
    this.#text = text;
    // The service reads words: the space after one asks nothing new, and is answered before it is typed.
    const words = text.trim();
    const asked = JSON.stringify([model, words]);
    if (asked === this.#question) return this.#found && this.#show();
    this.#question = asked;
    this.#found = null;
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    if (!words || !model) return this.#tell([], []);
    try {
      const { details } = await ask("generate", question(text, model), signal);
      if (signal.aborted) return;
      clearNotice();
      this.#tell(details.top_tokens[0].filter((word) => !word.special), details.unknown_words);
    } catch (error) {
      if (signal.aborted) return;
      this.#tell([], []);
      this.#question = ""; // to be asked again
      tell(error);
    }
  }

  take(place) {
    return this.#chips.take(place);
  }

  focus() {
    this.#chips.focus();
  }

  #tell(words, unknown) {
    this.#found = { words, unknown };
    this.#show();
  }

  #show() {
    const { words, unknown } = this.#found;
    this.#chips.show(words);
    byId("unknown").textContent = unknown.length ? say("unknown", { words: unknown.join(", ") }) : "";
    byId("unknown").hidden = unknown.length === 0;
    this.#list.dataset.after = this.#text;
    clearTimeout(this.#pause);
    if (words.length) this.#pause = setTimeout(() => announce(say("suggested", { words: words.slice(0, 3).map(shown).join(", ") })), PAUSE_MS);
  }
}
