/** Tables of text: read as spreadsheets write them (RFC 4180), and written so that they can be read. Knows no elements. */

const BOM = "\ufeff";

const MARKED = { "255,254": "utf-16le", "254,255": "utf-16be" }; // the first two bytes of Excel's "Unicode text"

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

/** Rows of cells; what separates them is what the first line has most of. */
export function parse(text) {
  const separator = separatorOf(text);
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endCell = () => (row.push(cell), (cell = ""));
  const endRow = () => (endCell(), rows.push(row), (row = []));
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === separator) endCell();
    else if (letter === "\n") endRow();
    else if (letter !== "\r" || text[at + 1] !== "\n") cell += letter;
  }
  if (cell || row.length) endRow();
  return rows.filter((cells) => cells.length > 1 || cells[0].trim());
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

function separatorOf(text) {
  const line = text.slice(0, text.indexOf("\n") + 1 || text.length).replace(/"[^"]*"/g, "");
  const count = (separator) => line.split(separator).length;
  return ["\t", ",", ";"].reduce((best, other) => (count(other) > count(best) ? other : best));
}
