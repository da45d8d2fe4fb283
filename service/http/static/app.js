/** The page: puts its parts together. */

import { Batch } from "./batch.js";
import { showCard } from "./card.js";
import { Classifier } from "./classifier.js";
import { Code } from "./code.js";
import { byId } from "./dom.js";
import { startKey } from "./key.js";
import { startLanguage, whenSpoken } from "./language.js";
import { startLive } from "./live.js";
import { clearNotice, speakNotice, tell } from "./notice.js";
import { Picker } from "./picker.js";
import { ask } from "./service.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { Writer } from "./writer.js";

const TASKS = { write: "generate", classify: "classify", batch: "classify" };

let panel = "write";
let model;
const code = new Code();
const showOf = (name) => (path, body) => name === panel && code.show(path, body);

startTheme(byId("theme"));
startLanguage(byId("language"));
const panels = { write: new Writer(showOf("write")), classify: new Classifier(showOf("classify")), batch: new Batch(showOf("batch")) };
const picker = new Picker(byId("model"), (chosen) => {
  model = chosen;
  showCard(model);
  panels[panel].use(model?.name);
});
startTabs(document.querySelector("[role=tablist]"), (shown) => {
  panel = shown;
  picker.show(TASKS[panel]);
});
startKey(() => (code.refresh(), load()));
startExamples();
whenSpoken(() => {
  showCard(model);
  speakNotice();
  for (const part of Object.values(panels)) part.speak();
});
startLive();
load();

async function load() {
  try {
    const [{ models }, info] = await Promise.all([ask("models"), ask("info")]);
    clearNotice();
    for (const part of Object.values(panels)) part.bound(info);
    picker.fill(models);
  } catch (error) {
    tell(error, load);
  }
}

/** A press on an example writes it where it belongs, as if it had been typed. */
function startExamples() {
  for (const button of document.querySelectorAll(".example")) {
    button.addEventListener("click", () => {
      const field = byId(button.dataset.fill);
      field.value = button.textContent;
      field.dispatchEvent(new Event("input"));
      field.focus();
    });
  }
}
