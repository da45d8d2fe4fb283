/** Many texts with the model that they were begun with: asked for a part at a time. Knows no elements. */

import { Failure } from "./failure.js";
import { askWhom } from "./service.js";

const LONGEST = 4; // bytes of a character
const PLACE = /^inputs(\[(\d+)\])?: /; // of a text in its request, which is not that in the table

/** What is asked of the service for some rows. */
export function question(rows, model) {
  return { inputs: rows.map(({ text }) => text), model, parameters: { top_k: 1 } };
}

export class Job {
  answered = []; // the first rows, with label, score and model, or with fault in place of them
  #rows;
  #model;
  #most;

  /** rows: { text, cells }; most: inputs and bytes of a request. */
  constructor(rows, model, most) {
    this.#rows = rows;
    this.#model = model;
    this.#most = most;
  }

  get figures() {
    return { done: this.answered.length, total: this.#rows.length, faults: this.answered.filter(({ fault }) => fault).length };
  }

  /** The rows that are left, a part at a time with its answers; whenBusy: called with the seconds that are waited. */
  async *answers(signal, whenBusy) {
    for (const part of parts(this.#rows.slice(this.answered.length), this.#most)) {
      const rows = await this.#classify(part, signal, whenBusy);
      this.answered.push(...rows);
      yield rows;
    }
  }

  /** The rows with their answers; one that is refused by its place is told why, and a busy service is waited for. */
  async #classify(rows, signal, whenBusy) {
    const faults = new Map(rows.filter((row) => this.#isTooLong(row)).map((row) => [row, new Failure("too_large").told]));
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

  /** Asked here, since a service that stops reading a body may be seen as a network that broke. */
  #isTooLong(row) {
    return new Blob([JSON.stringify(question([row], this.#model))]).size > this.#most.bytes;
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
