/** Tables of text: read as spreadsheets write them (RFC 4180), and written so that they can be read. Knows no elements. */

const BOM = "\ufeff";
const SEPARATORS = ",\t;";
const NAMED = /^"?sep=(.)"?(?:\r\n|\r|\n|$)/i; // a first line as Excel has it
export const BREAK = /\r\n|\r|\n/;

const MARKED = { "255,254": "utf-16le", "254,255": "utf-16be" }; // the first two bytes of Excel's "Unicode text"

/** A quote that is never closed, after which all would be one cell; line: where it stands, from 1. */
export class Unclosed extends Error {
  constructor(line) {
    super(`a quote in line ${line} is never closed`);
    this.line = line;
  }
}

/** The text of a file's bytes: UTF-16 that is marked, UTF-8, or what Korean spreadsheets wrote before it. */
export function decode(bytes) {
  const marked = MARKED[new Uint8Array(bytes.slice(0, 2)).join()];
  if (marked) return new TextDecoder(marked).decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("euc-kr").decode(bytes);
  }
}

/** Rows of cells. separator: where it is known; a first line may name it, or else it is what the first record has most of. */
export function parse(text, separator) {
  const named = NAMED.exec(text);
  const found = [...records(text, named?.[0].length ?? 0, named?.[1] ?? separator ?? separatorOf(text))];
  const { opened } = found.at(-1) ?? {};
  if (opened >= 0) throw new Unclosed(text.slice(0, opened).split(BREAK).length);
  return found.map(({ cells }) => cells);
}

/** withMark: begin with the mark by which Excel knows that this is UTF-8. */
export function write(rows, withMark) {
  const lines = rows.map((cells) => cells.map(quote).join(","));
  return (withMark ? BOM : "") + lines.map((line) => `${line}\r\n`).join("");
}

function quote(cell) {
  const text = String(cell);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Of several that are as frequent it is the first. */
function separatorOf(text) {
  const [{ between } = { between: [] }] = records(text, 0, SEPARATORS);
  const count = (separator) => between.filter((other) => other === separator).length;
  return [...SEPARATORS].reduce((best, other) => (count(other) > count(best) ? other : best));
}

/** Records that are no blank lines: their cells, what stands between them, and where a quote was opened that is not closed. */
function* records(text, start, separators) {
  let [cells, between, cell, opened, isBlank] = [[], [], "", -1, true];
  for (let at = start; at < text.length; at++) {
    const letter = text[at];
    if (opened >= 0) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') cell += text[++at];
      else opened = -1;
    } else if (letter === '"' && cell === "") [opened, isBlank] = [at, false];
    else if (separators.includes(letter)) {
      cells.push(cell);
      between.push(letter);
      [cell, isBlank] = ["", false];
    } else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[at + 1] === "\n") at++;
      if (!isBlank) yield { cells: [...cells, cell], between, opened };
      [cells, between, cell, isBlank] = [[], [], "", true];
    } else {
      cell += letter;
      isBlank &&= /\s/.test(letter);
    }
  }
  if (!isBlank) yield { cells: [...cells, cell], between, opened };
}
