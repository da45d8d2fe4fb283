/** The texts of a batch: lines that were pasted, or a column of a file. */

import { BREAK, decode, parse, Unclosed } from "./csv.js";
import { byId, make } from "./dom.js";
import { say } from "./language.js";

const TABBED = /^.*\t/; // a first line with columns, as of Excel's "Unicode text": commas and semicolons stand in sentences

export class Source {
  #rows = []; // of the file
  #name = "";
  #unclosed = null; // what kept the file from being read
  #whenChanged;

  constructor(whenChanged) {
    this.#whenChanged = whenChanged;
    byId("file").addEventListener("change", () => this.#open());
    for (const id of ["column", "titled"]) byId(id).addEventListener("change", () => this.speak());
    byId("lines").addEventListener("input", () => {
      [this.#rows, this.#name, this.#unclosed] = [[], "", null];
      this.speak();
    });
  }

  /** Every row with its text, which in a table may be empty; an empty line is no row. */
  get rows() {
    if (!this.#rows.length) return lines(byId("lines").value).map(([line]) => row([line.trim()], 0));
    const column = Number(byId("column").value);
    return this.#rows.slice(this.#titled).map((cells) => row(cells, column));
  }

  /** What the columns are called. */
  get head() {
    const [first = ["text"]] = this.#rows;
    return this.#titled || !this.#rows.length ? first : first.map(columnNumber);
  }

  /** The columns to choose from, in this language and as the box says. */
  speak() {
    const [first = []] = this.#rows;
    const chosen = byId("column").value;
    const names = this.head.slice(0, first.length).map((name, place) => name.trim() || columnNumber(name, place));
    byId("column").replaceChildren(...names.map((name, place) => make("option", { value: place, textContent: name })));
    byId("file-name").textContent = this.#name;
    byId("file-fault").textContent = this.#unclosed ? say("unclosed", { line: this.#unclosed.line }) : "";
    byId("file-fault").hidden = !this.#unclosed;
    byId("column").value = chosen in first ? chosen : this.#fullest;
    byId("column-field").hidden = first.length < 2;
    byId("titled-field").hidden = !first.length;
    this.#whenChanged();
  }

  async #open() {
    const [file] = byId("file").files;
    if (!file) return;
    const text = decode(await file.arrayBuffer());
    const isTabbed = !/\.csv$/i.test(file.name) && TABBED.test(text);
    const isTable = isTabbed || !/\.txt$/i.test(file.name);
    this.#name = file.name;
    this.#read(() => (isTable ? parse(text, isTabbed ? "\t" : undefined) : lines(text)));
    byId("file").value = ""; // or the same file, when it is mended, could not be chosen again
    byId("titled").checked = isTable;
    byId("column").replaceChildren();
    byId("lines").value = "";
    this.speak();
  }

  /** A file with a quote that is never closed has no rows: it would have the wrong ones. */
  #read(rows) {
    [this.#rows, this.#unclosed] = [[], null];
    try {
      this.#rows = rows();
    } catch (error) {
      if (!(error instanceof Unclosed)) throw error;
      this.#unclosed = error;
    }
  }

  get #titled() {
    return byId("titled").checked ? 1 : 0;
  }

  /** The column in which most is written. */
  get #fullest() {
    const [first = []] = this.#rows;
    const letters = first.map((_, place) => this.#rows.slice(0, 50).reduce((sum, cells) => sum + (cells[place] ?? "").length, 0));
    return letters.indexOf(Math.max(...letters));
  }
}

function row(cells, column) {
  return { cells, text: (cells[column] ?? "").trim() };
}

/** Tables of one column. */
function lines(text) {
  return text.split(BREAK).filter((line) => line.trim()).map((line) => [line]);
}

function columnNumber(_, place) {
  return say("columnNumber", { number: place + 1 });
}
