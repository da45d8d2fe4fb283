/** Classifying one text: what it is, how sure that is, and which words make it so. */

import { announce, byId, make } from "./dom.js";
import { percent, say } from "./language.js";
import { clearNotice, tell } from "./notice.js";
import { ask } from "./service.js";
import { strongestWords, tinted } from "./tint.js";

const PAUSE_MS = 120; // in typing, after which it is asked: every word costs an input

export class Classifier {
  #text = byId("review");
  #model = "";
  #asked = new AbortController();
  #pause = 0;
  #show;
  #mostInputs = Infinity;

  /** show: called with what is asked of the service, to be shown as code. */
  constructor(show) {
    this.#show = show;
    this.#text.addEventListener("input", () => {
      clearTimeout(this.#pause);
      this.#pause = setTimeout(() => this.classify(), PAUSE_MS);
    });
  }

  /** info: the service's own limits. */
  bound(info) {
    this.#mostInputs = Math.min(info.max_inputs, info.max_waiting);
  }

  use(model) {
    this.#model = model;
    this.classify();
  }

  speak() {
    this.classify();
  }

  async classify() {
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    const text = this.#text.value;
    const explained = text.trim().split(/\s+/).length < this.#mostInputs;
    const body = { inputs: text, model: this.#model, parameters: explained ? { details: true } : {} };
    this.#show("classify", text.trim() ? body : { ...body, inputs: say("reviewExample1") });
    byId("labels-box").hidden = !text.trim() || !this.#model;
    if (byId("labels-box").hidden) return;
    try {
      const answer = await ask("classify", body, signal);
      if (signal.aborted) return;
      clearNotice();
      this.#tell(text, answer.labels ?? answer, answer.details?.attributions);
    } catch (error) {
      if (signal.aborted) return;
      byId("labels-box").hidden = true;
      tell(error, () => this.classify());
    }
  }

  #tell(text, labels, attributions) {
    byId("labels").replaceChildren(...labels.map(bar));
    byId("tinted").replaceChildren(...(attributions ? tinted(text, attributions) : [text]));
    byId("tinted-note").textContent = this.#note(attributions);
    document.querySelector(".legend .for").textContent = say("legendFor", { label: labels[0].label });
    announce(`${labels[0].label} ${percent(labels[0].score)}`);
  }

  #note(attributions) {
    if (!attributions) return say("tooMany", { most: this.#mostInputs - 1 });
    return attributions.length > 1 ? say("strongest", { words: strongestWords(attributions) }) : say("alone");
  }
}

function bar({ label, score }) {
  const filled = make("span", { className: "bar" });
  filled.style.setProperty("--share", score);
  const name = make("span", { className: "name", textContent: label });
  return make("li", {}, name, make("span", { className: "track" }, filled), make("span", { className: "share", textContent: percent(score) }));
}
