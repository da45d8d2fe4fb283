/** The options of a generation, from their form. */

import { byId } from "./dom.js";

/** Numbers that were given; what is empty is left to the service. */
export function startOptions() {
  const form = byId("options");
  const update = () => {
    byId("sampling").disabled = form.elements.way.value !== "sample";
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

/** The bound that the service has for max_new_tokens. */
export function boundOptions({ max_new_tokens }) {
  byId("options").elements.max_new_tokens.max = max_new_tokens;
}

/** The parameters, or null where one of them is wrong, of which the browser tells. */
export function parameters() {
  const form = byId("options");
  const wrong = form.querySelector(":invalid:not(fieldset)");
  if (wrong) {
    form.closest("details").open = true;
    wrong.reportValidity();
    return null;
  }
  const given = [...form.elements].filter((field) => field.type === "number" && !field.matches(":disabled") && field.value);
  const found = Object.fromEntries(given.map((field) => [field.name, field.valueAsNumber]));
  if (form.elements.way.value === "sample") found.do_sample = true;
  const stop = form.elements.stop.value.split("\n").filter((line) => line.trim());
  if (stop.length) found.stop = stop;
  return found;
}
