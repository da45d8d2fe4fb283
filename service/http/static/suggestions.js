/** Next words after what is typed: asked for at every change, at once; of several questions the last one alone is answered. */

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
  #pause = 0;

  /** take: called with the word that was chosen. */
  constructor(list, take) {
    this.#list = list;
    this.#chips = new Chips(list, take);
  }

  /** Shows what may follow a text; list.dataset.after is then the text. */
  async after(text, model) {
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    if (!text.trim() || !model) return this.#show([], [], text);
    try {
      const { details } = await ask("generate", question(text, model), signal);
      if (signal.aborted) return;
      clearNotice();
      this.#show(details.top_tokens[0].filter((word) => !word.special), details.unknown_words, text);
    } catch (error) {
      if (signal.aborted) return;
      this.#show([], [], text);
      tell(error);
    }
  }

  take(place) {
    return this.#chips.take(place);
  }

  focus() {
    this.#chips.focus();
  }

  #show(words, unknown, text) {
    this.#chips.show(words);
    byId("unknown").textContent = unknown.length ? say("unknown", { words: unknown.join(", ") }) : "";
    byId("unknown").hidden = unknown.length === 0;
    this.#list.dataset.after = text;
    clearTimeout(this.#pause);
    if (words.length) this.#pause = setTimeout(() => announce(say("suggested", { words: words.slice(0, 3).map(shown).join(", ") })), PAUSE_MS);
  }
}
