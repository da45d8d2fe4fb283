/** What went wrong with a request, as a sentence for a person. */

import { say } from "./language.js";

const NAMES = {
  network: "failNetwork",
  overloaded: "failOverloaded",
  unauthorized: "failUnauthorized",
  deadline: "failDeadline",
  unavailable: "failUnavailable",
  too_large: "failTooLarge",
  validation: "failValidation",
  not_found: "failNotFound",
  forbidden: "failForbidden",
};

const OF_STATUS = { 403: "forbidden", 413: "too_large", 429: "overloaded", 503: "unavailable", 504: "deadline" }; // where a proxy answers in place of the service
const LONGEST_S = 86_400; // that anybody is asked to wait

export class Failure extends Error {
  /** sentence: the service's own; retryS: seconds after which a further try makes sense. */
  constructor(type, sentence = "", retryS = 1) {
    super(sentence);
    Object.assign(this, { type, sentence, retryS });
  }

  /** Of an answer that is none of ours, which a proxy may give, the status at least is told. */
  static async of(response) {
    const { status, headers } = response;
    const told = await response.json().catch(() => null);
    const isOurs = typeof told?.error === "string" && typeof told.error_type === "string";
    const { error, error_type: type } = isOurs ? told : { error: `HTTP ${status}`, error_type: OF_STATUS[status] ?? "internal" };
    return new Failure(type, error, secondsOf(headers.get("retry-after")));
  }

  /** In the page's language, and then in the service's own words. */
  get told() {
    const general = say(NAMES[this.type] ?? "failInternal", { seconds: this.retryS });
    return this.sentence ? `${general} (${this.sentence})` : general;
  }
}

/** Until when to wait: seconds or a date, as HTTP has it; at least one, or who asks in a loop would ask without a pause. */
function secondsOf(told) {
  const seconds = /^\d+$/.test(told) ? Number(told) : (Date.parse(told) - Date.now()) / 1000;
  return Math.min(LONGEST_S, Math.max(1, Math.ceil(seconds) || 1));
}
