/** What is on screen as a request for a terminal and for Python. The key is never in it, only where it is to be put. */

import { announce, byId } from "./dom.js";
import { hasKey } from "./key.js";
import { say } from "./language.js";
import { address } from "./service.js";

const PAUSE_MS = 150; // in typing, after which the code follows: what is typed is to be answered first
const KEY = "SEQSERVE_API_KEY"; // the variable that code takes a key from

export class Code {
  #asked = null;
  #kind = "curl";
  #pause = 0;

  constructor() {
    for (const kind of ["curl", "python"]) byId(`code-${kind}`).addEventListener("click", () => this.#choose(kind));
    byId("code-copy").addEventListener("click", () => this.#copy());
  }

  show(path, body) {
    this.#asked = [path, body];
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.refresh(), PAUSE_MS);
  }

  /** Anew, where there is another key. */
  refresh() {
    if (!this.#asked) return;
    const [path, body] = this.#asked;
    byId("code").textContent = this.#kind === "curl" ? curl(path, body) : python(path, body);
  }

  #choose(kind) {
    this.#kind = kind;
    for (const other of ["curl", "python"]) byId(`code-${other}`).setAttribute("aria-pressed", String(other === kind));
    this.refresh();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(byId("code").textContent);
    } catch {
      // Over plain HTTP from another machine a page has no clipboard, but what is selected can be copied.
      getSelection().selectAllChildren(byId("code"));
      document.execCommand("copy");
    }
    byId("code-copy").textContent = say("copied");
    announce(say("copied"));
    setTimeout(() => (byId("code-copy").textContent = say("copy")), 2000);
  }
}

function curl(path, body) {
  const key = hasKey() ? ` \\\n  -H "authorization: Bearer $${KEY}"` : "";
  return `curl -sN ${quoted(address(path))} \\\n  -H 'content-type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(body))}`;
}

/** As one word of a shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function python(path, body) {
  const streams = path === "generate_stream";
  const key = hasKey() ? `    headers={"authorization": "Bearer " + os.environ["${KEY}"]},\n` : "";
  const head = `${hasKey() ? "import os\n\n" : ""}import requests\n\nanswer = requests.post(\n    ${literal(address(path))},\n`;
  const call = `${head}${key}    json=${literal(body, "    ")},\n${streams ? "    stream=True,\n" : ""})\nanswer.raise_for_status()\n`;
  return call + (streams ? 'for line in answer.iter_lines():\n    print(line.decode())\n' : "print(answer.json())\n");
}

/** A value as Python writes it. What JSON writes of a text is a text to Python too. */
function literal(value, indent = "") {
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, indent)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const lines = Object.entries(value).map(([name, item]) => `${inner}${JSON.stringify(name)}: ${literal(item, inner)},\n`);
  return lines.length ? `{\n${lines.join("")}${indent}}` : "{}";
}
