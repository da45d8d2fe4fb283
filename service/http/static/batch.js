/** Many texts: classified a part at a time, shown as they come, saved as a table. */

import { write } from "./csv.js";
import { byId, make } from "./dom.js";
import { Failure } from "./failure.js";
import { number, percent, say } from "./language.js";
import { clearNotice, tell } from "./notice.js";
import { ask } from "./service.js";
import { Source } from "./source.js";

const PART = 64; // texts in a request
const LONGEST = 4; // bytes of a character
const SHOWN = 200; // rows of the table
const PLACE = /^inputs(\[(\d+)\])?: /; // of a text in its request, which is not that in the table
const TOLD = 20; // texts of the request that is shown as code

export class Batch {
  #source = new Source(() => this.showCode());
  #head = [];
  #rows = []; // { text, cells, label, score }, or with fault in place of the last two
  #running = null;
  #model = "";
  #most = { inputs: PART, bytes: Infinity }; // of a request
  #status = () => "";
  #show;

  /** show: called with what is asked of the service, to be shown as code. */
  constructor(show) {
    this.#show = show;
    byId("batch-run").addEventListener("click", () => this.#run());
    byId("batch-stop").addEventListener("click", () => this.#running?.abort());
    byId("batch-save").addEventListener("click", () => this.#save());
  }

  /** info: the service's own limits. */
  bound(info) {
    this.#most = { inputs: Math.min(PART, info.max_inputs, info.max_waiting), bytes: info.max_body_bytes };
  }

  use(model) {
    this.#model = model;
    this.showCode();
  }

  speak() {
    this.#source.speak();
    byId("batch-status").textContent = this.#status();
  }

  showCode() {
    const rows = this.#source.rows.slice(0, TOLD);
    const examples = say("linesPlaceholder").split("\n").map((text) => ({ text }));
    this.#show("classify", this.#body(rows.length ? rows : examples));
  }

  #body(rows) {
    return { inputs: rows.map(({ text }) => text), model: this.#model, parameters: { top_k: 1 } };
  }

  async #run() {
    const rows = this.#source.rows;
    this.#begin(rows.length);
    const { signal } = this.#running;
    try {
      for (const part of parts(rows, this.#most)) {
        this.#add(await this.#classify(part, signal, rows.length));
        this.#tell("progressed", rows.length);
      }
      clearNotice();
      this.#tell(!rows.length ? "nothingToDo" : this.#faults ? "finishedPartly" : "finished", rows.length);
    } catch (error) {
      this.#tell("stopped", rows.length);
      tell(error);
    } finally {
      this.#end();
    }
  }

  #begin(total) {
    this.#running = new AbortController();
    this.#head = this.#source.head;
    this.#rows = [];
    byId("table").tBodies[0].replaceChildren();
    byId("batch-progress").hidden = false;
    byId("batch-bar").max = total || 1;
    byId("batch-run").disabled = true;
    byId("batch-stop").disabled = false;
    this.#tell("progressed", total);
  }

  #end() {
    byId("batch-run").disabled = false;
    byId("batch-stop").disabled = true;
    byId("batch-save").disabled = this.#rows.length === 0;
  }

  get #faults() {
    return this.#rows.filter((row) => row.fault).length;
  }

  /** How far it is, in the language of the moment. */
  #tell(name, total, values = {}) {
    const done = this.#rows.length;
    const faults = this.#faults;
    const shown = () => (done > SHOWN ? ` ${say("shown", { count: number(SHOWN) })}` : "");
    this.#status = () => say(name, { done: number(done), total: number(total), faults: number(faults), ...values }) + shown();
    byId("batch-status").textContent = this.#status();
    byId("batch-bar").value = done;
  }

  /** The rows with their answers; one that is refused by its place is told why, and a busy service is waited for. */
  async #classify(rows, signal, total) {
    const faults = new Map(rows.filter((row) => this.#isTooLong(row)).map((row) => [row, new Failure("too_large").told]));
    for (;;) {
      const left = rows.filter((row) => !faults.has(row));
      try {
        const answers = left.length ? await ask("classify", this.#body(left), signal) : [];
        const found = new Map(left.map((row, place) => [row, answers[place][0]]));
        return rows.map((row) => ({ ...row, ...found.get(row), fault: faults.get(row) }));
      } catch (error) {
        const refused = error instanceof Failure && refusedOf(left, error);
        if (error.type === "overloaded") await this.#wait(error.retryS, signal, total);
        else if (refused) faults.set(refused, new Failure(error.type, error.sentence.replace(PLACE, "")).told);
        else throw error;
      }
    }
  }

  /** Asked here, since a service that stops reading a body may be seen as a network that broke. */
  #isTooLong(row) {
    return new Blob([JSON.stringify(this.#body([row]))]).size > this.#most.bytes;
  }

  #wait(seconds, signal, total) {
    this.#tell("waiting", total, { seconds });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, seconds * 1000);
      signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
    });
  }

  #add(rows) {
    const room = Math.max(0, SHOWN - this.#rows.length);
    const first = this.#rows.length + 1;
    this.#rows.push(...rows);
    byId("table").tBodies[0].append(...rows.slice(0, room).map((row, place) => line(row, first + place)));
    byId("batch-box").hidden = false;
  }

  #save() {
    const rows = this.#rows.map((row) => [...this.#head.map((_, place) => row.cells[place] ?? ""), row.label ?? "", row.score ?? "", row.fault ?? ""]);
    const table = write([[...this.#head, "label", "score", "error"], ...rows], byId("bom").checked);
    const href = URL.createObjectURL(new Blob([table], { type: "text/csv" }));
    make("a", { href, download: "labels.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }
}

/** Rows in requests of so many texts and bytes at the most. */
function* parts(rows, most) {
  let part = [];
  let bytes = 0;
  for (const row of rows) {
    const more = row.text.length * LONGEST;
    if (part.length && (part.length === most.inputs || bytes + more > most.bytes / 2)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(row);
    bytes += more;
  }
  if (part.length) yield part;
}

/** The row that is meant: the one whose place is named, or the only one. */
function refusedOf(rows, { type, sentence }) {
  const place = PLACE.exec(sentence)?.[2];
  return place ? rows[place] : type === "too_large" && rows.length === 1 && rows[0];
}

function line({ text, label, score, fault }, place) {
  const cells = fault ? [make("td", { colSpan: 2, className: "fault", textContent: fault })] : [label, percent(score)].map((textContent) => make("td", { textContent }));
  return make("tr", {}, make("td", { textContent: number(place) }), make("td", { textContent: text }), ...cells);
}
