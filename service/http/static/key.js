/** The API key: in memory, and where that is wished in the tab's own storage. Never in an address, and never in the code that is shown. */

import { byId } from "./dom.js";
import { recall, remember } from "./memory.js";

const KEPT = "seqserve.key";
const TAB = "sessionStorage";
let key = recall(KEPT, TAB) ?? "";

export function authorization() {
  return key ? { authorization: `Bearer ${key}` } : {};
}

export function hasKey() {
  return key !== "";
}

export function askForKey() {
  if (byId("key-dialog").open) return;
  byId("key").value = key;
  byId("key-keep").checked = recall(KEPT, TAB) !== null;
  byId("key-dialog").showModal();
}

/** whenChanged: called when there is another key. */
export function startKey(whenChanged) {
  byId("key-open").addEventListener("click", askForKey);
  byId("key-close").addEventListener("click", () => byId("key-dialog").close());
  byId("key-form").addEventListener("submit", () => {
    key = byId("key").value.trim();
    remember(KEPT, key && byId("key-keep").checked ? key : null, TAB);
    whenChanged();
  });
}
