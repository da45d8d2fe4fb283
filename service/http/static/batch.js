/** Many texts: classified a part at a time, shown as they come, saved as a table. */

import { write } from "./csv.js";
import { announce, byId, make } from "./dom.js";
import { hasText, Job, question } from "./job.js";
import { number, percent, say } from "./language.js";
import { clearNotice, tell } from "./notice.js";
import { Source } from "./source.js";

const PART = 64; // texts in a request
const SHOWN = 200; // rows of the table
const TOLD = 20; // texts of the request that is shown as code
const ADDED = ["label", "score", "model", "error"]; // columns of the table that is saved

export class Batch {
  #source = new Source(() => this.showCode());
  #head = []; // of the job's table
  #job = null;
  #running = null;
  #model = "";
  #most = { inputs: PART, bytes: Infinity }; // of a request
  #status = () => "";
  #heard = new Set(); // what was announced of this run
  #show;

  /** show: called with what is asked of the service, to be shown as code. */
  constructor(show) {
    this.#show = show;
    byId("batch-run").addEventListener("click", () => this.#begin());
    byId("batch-stop").addEventListener("click", () => this.#running?.abort());
    byId("batch-save").addEventListener("click", () => this.#save());
  }

  /** info: the service's own limits. */
  bound(info) {
    this.#most = { inputs: Math.min(PART, info.max_inputs, info.max_waiting), bytes: info.max_body_bytes };
  }

  /** From the next run on: a table is of one model. */
  use(model) {
    this.#model = model;
    this.showCode();
  }

  speak() {
    this.#source.speak();
    byId("batch-status").textContent = this.#status();
  }

  showCode() {
    const rows = this.#source.rows.filter(hasText).slice(0, TOLD);
    const examples = say("linesPlaceholder").split("\n").map((text) => ({ text }));
    this.#show("classify", question(rows.length ? rows : examples, this.#model));
  }

  #begin() {
    clearNotice(); // which may offer to go on with the job that is left now
    this.#head = this.#source.head;
    this.#job = new Job(this.#source.rows, this.#model, this.#most);
    byId("table").tBodies[0].replaceChildren();
    byId("batch-progress").hidden = false;
    this.#run();
  }

  /** The job from its beginning, or from where it stopped. */
  async #run() {
    const job = this.#job;
    const { signal } = (this.#running = new AbortController());
    byId("batch-run").disabled = true;
    byId("batch-stop").disabled = false;
    this.#heard.clear();
    this.#tell("progressed");
    try {
      for await (const rows of job.answers(signal, (seconds) => this.#tell("waiting", { seconds }))) {
        this.#add(rows);
        this.#tell("progressed");
      }
      clearNotice();
      const { total, faults } = job.figures;
      this.#tell(!total ? "nothingToDo" : faults ? "finishedPartly" : "finished");
    } catch (error) {
      this.#tell("stopped");
      tell(error, () => this.#run());
    } finally {
      this.#end();
    }
  }

  #end() {
    byId("batch-run").disabled = false;
    byId("batch-stop").disabled = true;
    byId("batch-save").disabled = this.#job.answered.length === 0;
  }

  /** How far it is, in the language of the moment. */
  #tell(name, values = {}) {
    const { done, total, faults, empty } = this.#job.figures;
    const isCut = this.#job.answered.length > SHOWN;
    this.#status = () => {
      const told = [say(name, { done: number(done), total: number(total), faults: number(faults), ...values })];
      if (empty && name !== "progressed") told.push(say("emptyRows", { count: number(empty) }));
      if (isCut) told.push(say("shown", { count: number(SHOWN) }));
      return told.join(" ");
    };
    byId("batch-status").textContent = this.#status();
    byId("batch-bar").max = total || 1;
    byId("batch-bar").value = done;
    this.#announce(name, done / (total || 1));
  }

  /** Who does not see the bar hears how it begins and ends, and between them a sentence a tenth: every part would talk without end. */
  #announce(name, share) {
    const heard = `${name} ${Math.floor(10 * share)}`;
    if (this.#heard.has(heard) || (name === "progressed" && share === 1)) return;
    this.#heard.add(heard);
    announce(this.#status());
  }

  /** rows: the last of those that are answered. */
  #add(rows) {
    const before = this.#job.answered.length - rows.length;
    const room = Math.max(0, SHOWN - before);
    byId("table").tBodies[0].append(...rows.slice(0, room).map((row, place) => line(row, before + place + 1)));
    byId("batch-box").hidden = false;
  }

  #save() {
    const rows = this.#job.answered.map(({ cells, label = "", score = "", model = "", fault = "" }) => {
      return [...this.#head.map((_, place) => cells[place] ?? ""), label, score, model, fault];
    });
    const table = write([[...this.#head, ...ADDED], ...rows], byId("bom").checked);
    const href = URL.createObjectURL(new Blob([table], { type: "text/csv" }));
    make("a", { href, download: "labels.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }
}

function line({ text, label, score, fault }, place) {
  const cells = fault ? [make("td", { colSpan: 2, className: "fault", textContent: fault })] : [label, percent(score)].map((textContent) => make("td", { textContent }));
  return make("tr", {}, make("td", { textContent: number(place) }), make("td", { textContent: text }), ...cells);
}
