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
};

export class Failure extends Error {
  /** sentence: the service's own; retryS: seconds after which a further try makes sense. */
  constructor(type, sentence = "", retryS = 1) {
    super(sentence);
    Object.assign(this, { type, sentence, retryS });
  }

  /** Of an answer that is none of ours, which a proxy may give, the status at least is told. */
  static async of(response) {
    const { error = `HTTP ${response.status}`, error_type: type = "internal" } = await response.json().catch(() => ({}));
    return new Failure(type, error, Number(response.headers.get("retry-after") ?? 1));
  }

  /** In the page's language, and then in the service's own words. */
  get told() {
    const general = say(NAMES[this.type] ?? "failInternal", { seconds: this.retryS });
    return this.sentence ? `${general} (${this.sentence})` : general;
  }
}
