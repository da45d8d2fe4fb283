/** What went wrong, where nobody overlooks it, until it is closed or something goes well. */

import { byId, make } from "./dom.js";
import { Failure } from "./failure.js";
import { askForKey } from "./key.js";
import { say } from "./language.js";

/** again: what to do anew, where that makes sense. */
export function tell(error, again) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Failure)) throw error;
  if (error.type === "unauthorized") askForKey();
  const buttons = [make("button", { type: "button", textContent: say("close"), onclick: clearNotice })];
  if (again) {
    const retry = () => (clearNotice(), again());
    buttons.unshift(make("button", { type: "button", textContent: say("again"), onclick: retry }));
  }
  byId("notice").replaceChildren(make("p", { textContent: error.told }), ...buttons);
}

export function clearNotice() {
  if (byId("notice").hasChildNodes()) byId("notice").replaceChildren();
}
