/** What went wrong, where nobody overlooks it, until it is closed or something goes well. */

import { byId, make } from "./dom.js";
import { Failure } from "./failure.js";
import { demandKey } from "./key.js";
import { say } from "./language.js";

let told = null; // the arguments of tell, while they are shown

/** again: what to do anew, where that makes sense. */
export function tell(error, again) {
  if (error?.name === "AbortError") return;
  if (!(error instanceof Failure)) reportError(error); // the page's own fault, or an answer that it cannot read: for its makers, too
  if (error?.type === "unauthorized") demandKey();
  told = [error, again];
  speakNotice();
}

/** The same in another language. */
export function speakNotice() {
  if (!told) return;
  const [error, again] = told;
  const buttons = [make("button", { type: "button", textContent: say("close"), onclick: clearNotice })];
  if (again) {
    const retry = () => (clearNotice(), again());
    buttons.unshift(make("button", { type: "button", textContent: say("again"), onclick: retry }));
  }
  const sentence = error instanceof Failure ? error.told : say("failPage");
  byId("notice").replaceChildren(make("p", { textContent: sentence }), ...buttons);
}

export function clearNotice() {
  told = null;
  if (byId("notice").hasChildNodes()) byId("notice").replaceChildren();
}
