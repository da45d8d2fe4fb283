/** Figures of this moment, worked out from /metrics: of inference requests, which have a model. */

import { byId } from "./dom.js";
import { milliseconds, number } from "./language.js";
import { buckets, quantile, samples, total } from "./metrics.js";
import { read } from "./service.js";

const EVERY_MS = 5000;
const WINDOW_MS = 60_000;
const SECONDS = "seqserve_request_seconds";
const ROWS = "seqserve_rows_in_use";
const NAMES = new Set([`${SECONDS}_count`, `${SECONDS}_bucket`, ROWS]);
const hasModel = ({ model }) => model !== "";

let readings = []; // { atMs, count, seconds }, the oldest first

/** Reads as long as somebody looks. */
export function startLive() {
  const look = async () => {
    if (document.visibilityState === "visible") await refresh();
    setTimeout(look, EVERY_MS);
  };
  look();
}

async function refresh() {
  const text = await read("metrics").catch(() => null);
  if (text === null) return show({});
  const all = samples(text, NAMES);
  const now = { atMs: performance.now(), count: total(all, `${SECONDS}_count`, hasModel), seconds: buckets(all, SECONDS, hasModel) };
  if (now.count < readings.at(-1)?.count) readings = []; // the service was begun anew
  readings = [...readings.filter(({ atMs }) => now.atMs - atMs <= WINDOW_MS), now];
  const [first] = readings;
  const seconds = (now.atMs - first.atMs) / 1000;
  show({
    rate: seconds ? (now.count - first.count) / seconds : null,
    p50: quantile(0.5, first.seconds, now.seconds),
    p99: quantile(0.99, first.seconds, now.seconds),
    rows: total(all, ROWS),
  });
}

function show({ rate = null, p50 = null, p99 = null, rows = null }) {
  const told = { rate: rate !== null && number(rate, { maximumFractionDigits: rate < 10 ? 1 : 0 }), rows: rows !== null && number(rows) };
  byId("live-rate").textContent = told.rate || "–";
  byId("live-rows").textContent = told.rows || "–";
  byId("live-p50").textContent = p50 === null ? "–" : milliseconds(1000 * p50);
  byId("live-p99").textContent = p99 === null ? "–" : milliseconds(1000 * p99);
}
