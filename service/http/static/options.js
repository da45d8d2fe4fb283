/** The options of a generation, from their form. */

import { byId } from "./dom.js";
import { say } from "./language.js";

/** Numbers that were given; what is empty is left to the service. */
export function startOptions() {
  const form = byId("options");
  const update = () => {
    byId("sampling").disabled = form.elements.way.value !== "sample";
  };
  form.addEventListener("change", update);
  form.addEventListener("input", ({ target }) => target.setCustomValidity(""));
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

/** The bound that the service has for max_new_tokens. */
export function boundOptions({ max_new_tokens }) {
  byId("options").elements.max_new_tokens.max = max_new_tokens;
}

/** The parameters, or null where one of them is wrong, of which the browser tells in the page's words. */
export function parameters() {
  const form = byId("options");
  const wrong = form.querySelector(":invalid:not(fieldset)");
  if (wrong) {
    form.closest("details").open = true;
    wrong.setCustomValidity(bounds(wrong));
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

/** What a field takes; those without a largest number take whole ones. */
function bounds({ min: least, max: most, step }) {
  return say(!most ? "wholeFrom" : step === "any" ? "between" : "wholeBetween", { least, most });
}
