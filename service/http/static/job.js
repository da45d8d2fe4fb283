/** Many texts with the model that they were begun with: asked for a part at a time. Knows no elements. */

import { Failure } from "./failure.js";
import { say } from "./language.js";
import { askWhom } from "./service.js";

const LONGEST = 4; // bytes of a character
const PLACE = /^inputs(\[(\d+)\])?: /; // of a text in its request, which is not that in the table

/** What is asked of the service for some rows. */
export function question(rows, model) {
  return { inputs: rows.map(({ text }) => text), model, parameters: { top_k: 1 } };
}

export function hasText({ text }) {
  return text !== "";
}

export class Job {
  answered = []; // the first rows, with label, score and model, or with fault in place of them
  figures; // of the texts: done, faults, total; and empty, the rows without one
  #rows;
  #model;
  #most;

  /** rows: { text, cells }; most: inputs and bytes of a request. */
  constructor(rows, model, most) {
    this.#rows = rows;
    this.#model = model;
    this.#most = most;
    const total = rows.filter(hasText).length;
    this.figures = { done: 0, faults: 0, total, empty: rows.length - total };
  }

  /** The rows that are left, a part at a time with its answers; whenBusy: called with the seconds that are waited. */
  async *answers(signal, whenBusy) {
    for (const part of parts(this.#rows.slice(this.answered.length), this.#most)) {
      const rows = await this.#classify(part, signal, whenBusy);
      this.#add(rows);
      yield rows;
    }
  }

  #add(rows) {
    const texts = rows.filter(hasText);
    this.answered.push(...rows);
    this.figures.done += texts.length;
    this.figures.faults += texts.filter(({ fault }) => fault).length;
  }

  /** The rows with their answers; one that is empty, or refused by its place, is told why, and a busy service is waited for. */
  async #classify(rows, signal, whenBusy) {
    const faults = new Map(rows.map((row) => [row, this.#faultOf(row)]).filter(([, fault]) => fault));
    for (;;) {
      const left = rows.filter((row) => !faults.has(row));
      try {
        const found = left.length ? await this.#ask(left, signal) : new Map();
        return rows.map((row) => ({ ...row, ...found.get(row), fault: faults.get(row) }));
      } catch (error) {
        const refused = error instanceof Failure && refusedOf(left, error);
        if (error.type === "overloaded") {
          whenBusy(error.retryS);
          await pause(error.retryS, signal);
        } else if (refused) faults.set(refused, new Failure(error.type, error.sentence.replace(PLACE, "")).told);
        else throw error;
      }
    }
  }

  /** The best label of every row, and the version of the model that gave it. */
  async #ask(rows, signal) {
    const { answer, model } = await askWhom("classify", question(rows, this.#model), signal);
    return new Map(rows.map((row, place) => [row, { ...answer[place][0], model: model ?? this.#model }]));
  }

  /** What is known without asking; of length, too, since a service that stops reading a body may be seen as a network that broke. */
  #faultOf(row) {
    if (!hasText(row)) return say("empty");
    const { size } = new Blob([JSON.stringify(question([row], this.#model))]);
    return size > this.#most.bytes ? new Failure("too_large").told : "";
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

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
