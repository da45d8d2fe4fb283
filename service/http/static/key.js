/** The API key: in memory, and where that is wished in the tab's own storage. Never in an address, and never in the code that is shown. */

import { byId } from "./dom.js";
import { say } from "./language.js";
import { recall, remember } from "./memory.js";

const KEPT = "seqserve.key";
const TAB = "sessionStorage";
const SENDABLE = /^[!-~]*$/; // what the service takes for a key; fetch itself refuses most other letters in a header
let key = recall(KEPT, TAB) ?? "";
let left = null; // what had the focus before the dialog

export function authorization() {
  return key ? { authorization: `Bearer ${key}` } : {};
}

export function hasKey() {
  return key !== "";
}

/** Where the service wants a key, or another one: what stands outside the dialog is out of reach as long as it is open. */
export function demandKey() {
  askForKey();
  byId("key-fault").textContent = say(key ? "keyRefused" : "failUnauthorized");
  byId("key-fault").hidden = false;
}

function askForKey() {
  if (byId("key-dialog").open) return;
  byId("key-fault").hidden = true;
  byId("key").value = key;
  check();
  byId("key-keep").checked = recall(KEPT, TAB) !== null;
  byId("key-dialog").showModal();
}

function typed() {
  return byId("key").value.trim();
}

/** Where there are letters that no key has, the browser says so at the field and keeps the form. */
function check() {
  byId("key").setCustomValidity(SENDABLE.test(typed()) ? "" : say("keyLetters"));
}

/** The browser goes back by itself, unless that was disabled or removed meanwhile: then it would be at the page's beginning. */
function focusAgain() {
  const isLost = () => document.activeElement === document.body || byId("key-dialog").contains(document.activeElement);
  for (const element of [left, byId("key-open")]) if (isLost()) element?.focus();
}

/** whenChanged: called when there is another key. */
export function startKey(whenChanged) {
  byId("key-open").addEventListener("click", askForKey);
  document.addEventListener("focusin", ({ target }) => !byId("key-dialog").contains(target) && (left = target));
  byId("key-dialog").addEventListener("close", focusAgain);
  byId("key-close").addEventListener("click", () => byId("key-dialog").close());
  byId("key").addEventListener("input", check);
  byId("key-form").addEventListener("submit", () => {
    key = typed();
    remember(KEPT, key && byId("key-keep").checked ? key : null, TAB);
    whenChanged();
  });
}
