/** Which model does what: one for each task, chosen from those that serve. */

import { make } from "./dom.js";

export class Picker {
  #select;
  #models = null; // until they are known
  #chosen = {};
  #task = "";
  #whenChosen;

  /** whenChosen: called with the model that is to be used now, or with nothing where there is none. */
  constructor(select, whenChosen) {
    this.#select = select;
    this.#whenChosen = whenChosen;
    select.addEventListener("change", () => {
      this.#chosen[this.#task] = select.value;
      this.#tell();
    });
  }

  /** models: as GET /models lists them. */
  fill(models) {
    this.#models = models;
    this.show(this.#task);
  }

  show(task) {
    this.#task = task;
    if (!this.#models) return;
    const models = this.#models.filter((model) => model.task === task);
    const standard = models.find((model) => model.default) ?? models[0];
    if (!models.some(({ name }) => name === this.#chosen[task])) this.#chosen[task] = standard?.name;
    this.#select.replaceChildren(...models.map(({ name }) => make("option", { value: name, textContent: name })));
    this.#select.value = this.#chosen[task];
    this.#tell();
  }

  #tell() {
    this.#whenChosen(this.#models.find(({ name }) => name === this.#select.value));
  }
}
