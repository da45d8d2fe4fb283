/** Writing: what is typed gets suggestions, and is written on from where the writer wants. */

import { Answer } from "./answer.js";
import { MOST } from "./chips.js";
import { byId } from "./dom.js";
import { say } from "./language.js";
import { clearNotice, tell } from "./notice.js";
import { boundOptions, parameters, startOptions } from "./options.js";
import { stream } from "./service.js";
import { question, Suggestions } from "./suggestions.js";

export class Writer {
  #text = byId("text");
  #suggestions = new Suggestions(byId("suggestions"), (word) => this.#take(word));
  #answer = new Answer((word) => this.#goOn(word));
  #running = null;
  #model = "";
  #show;

  /** show: called with what is asked of the service, to be shown as code. */
  constructor(show) {
    this.#show = show;
    startOptions();
    this.#text.addEventListener("input", () => this.suggest());
    this.#text.addEventListener("keydown", (event) => this.#press(event));
    byId("write").addEventListener("keydown", (event) => event.key === "Escape" && this.#stop());
    byId("generate").addEventListener("click", () => this.#begin());
    byId("stop").addEventListener("click", () => this.#stop());
    byId("answer-take").addEventListener("click", () => this.#fill(this.#answer.text));
  }

  /** info: the service's own limits. */
  bound(info) {
    boundOptions(info);
  }

  use(model) {
    this.#model = model;
    this.suggest();
  }

  /** The same in another language. */
  speak() {
    this.#answer.speak();
    this.suggest();
  }

  /** The suggestions for what stands there now. */
  suggest() {
    const { value } = this.#text;
    this.#suggestions.after(value, this.#model);
    this.#show("generate", question(value.trim() ? value : say("writeExample1"), this.#model));
  }

  #press(event) {
    if (event.isComposing) return;
    const { value, selectionStart } = this.#text;
    const digit = event.altKey && /^Digit[1-9]$/.test(event.code) ? Number(event.code.slice(-1)) : 0;
    if (digit) this.#suggestions.take(digit - 1);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#begin();
    else if (event.key === "ArrowDown" && selectionStart === value.length) this.#suggestions.focus();
    else return;
    event.preventDefault();
  }

  /** A suggestion becomes the next word of the text. */
  #take(word) {
    const { value } = this.#text;
    this.#fill(value + (/(^|\s)$/.test(value) ? word.text.trimStart() : word.text));
  }

  #fill(text) {
    this.#text.value = text;
    this.#text.focus();
    this.#text.setSelectionRange(text.length, text.length);
    this.suggest();
  }

  #begin() {
    const options = parameters();
    if (!options) return;
    if (!this.#text.value.trim()) return this.#text.focus();
    this.#answer.begin(this.#text.value.trimEnd(), this.#model);
    this.#run(options);
  }

  /** After a word that was chosen the model writes what is left of the number of words. */
  #goOn(word) {
    this.#stop();
    const options = parameters();
    if (!options) return;
    const left = options.max_new_tokens - this.#answer.length;
    if (word.special || left < 1) this.#end(word.special ? "eos_token" : "length");
    else this.#run({ ...options, max_new_tokens: left });
  }

  async #run(options) {
    this.#stop();
    const run = (this.#running = new AbortController());
    const began = performance.now();
    const told = { details: true, top_n_tokens: MOST, return_full_text: true };
    const body = { inputs: this.#answer.text, model: this.#answer.model, parameters: { ...options, ...told } };
    this.#show("generate_stream", body);
    byId("stop").disabled = false;
    this.#answer.wait();
    let first = 0;
    let last = {};
    try {
      for await (const event of stream("generate_stream", body, run.signal)) {
        if (run !== this.#running) return;
        if (first) this.#answer.add(event.token, event.top_tokens);
        else this.#answer.addFirst(event.token, event.top_tokens);
        first ||= performance.now() - began;
        last = event;
      }
      if (run === this.#running && last.generated_text) this.#answer.settle(last.generated_text);
      clearNotice();
    } catch (error) {
      tell(error, () => this.#run(options));
    }
    if (run === this.#running) this.#end(last.details?.finish_reason ?? "stopped", { firstMs: first, totalMs: performance.now() - began }, last);
  }

  #end(finish, times = {}, { details, model } = {}) {
    this.#running = null;
    byId("stop").disabled = true;
    this.#answer.end({ finish, ...times, seed: details?.seed ?? null, version: model });
  }

  #stop() {
    this.#running?.abort();
  }
}
