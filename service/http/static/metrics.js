/** Prometheus' text: samples, sums of them, and quantiles of histograms. Knows no elements. */

/** Every sample that is of interest, as { name, labels, value }. */
export function samples(text, names) {
  const found = [];
  for (const line of text.split("\n")) {
    const parts = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!parts || !names.has(parts[1])) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    found.push({ name: parts[1], labels, value: Number(parts[3]) });
  }
  return found;
}

export function total(all, name, wanted = () => true) {
  return all.filter((sample) => sample.name === name && wanted(sample.labels)).reduce((sum, { value }) => sum + value, 0);
}

/** Counts of a histogram's buckets by their upper bounds, summed over whatever else tells them apart. */
export function buckets(all, name, wanted) {
  const counts = new Map();
  for (const { labels, value } of all.filter((sample) => sample.name === `${name}_bucket` && wanted(sample.labels))) {
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** The value below which a share of what came between two readings lies, as Prometheus works it out; null where nothing came. */
export function quantile(share, before, after) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => after.get(bound) - (before.get(bound) ?? 0));
  const rank = share * counts.at(-1);
  if (!(rank > 0)) return null;
  const place = counts.findIndex((count) => count >= rank);
  if (bounds[place] === Infinity) return bounds[place - 1];
  const [from, below] = place ? [bounds[place - 1], counts[place - 1]] : [0, 0];
  return from + ((bounds[place] - from) * (rank - below)) / (counts[place] - below);
}
