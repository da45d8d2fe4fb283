/** A model's card: what it is, its scores beside those of simple baselines, its plots. */

import { byId, make } from "./dom.js";
import { number, say } from "./language.js";
import { fetchBlob, read } from "./service.js";
import { tell } from "./notice.js";

const PLOTS = { "curves.png": "plotCurves", "confusion.png": "plotConfusion", "calibration.png": "plotCalibration" };

const ABOUT = { notation: "compact", maximumSignificantDigits: 3 };

/** model: as GET /models tells of it. */
export function showCard(model) {
  if (!model) return byId("card").replaceChildren(make("p", { className: "note", textContent: say("noModel") }));
  const size = { cell: cell(model), hidden: model.hidden, parameters: number(model.parameters, ABOUT), vocabulary: number(model.vocabulary) };
  byId("card").replaceChildren(
    make("p", { className: "name", textContent: `${model.name}/${model.version}` }),
    make("p", { textContent: model.description }),
    make("p", { className: "note", textContent: say("cardSize", size) }),
    make("dl", { className: "scores" }, ...model.scores.map(score)),
    closed(say("cardPlots"), () => plots(model)),
    closed(say("cardWhole"), () => whole(model)),
  );
}

function cell({ cell, directions, layers }) {
  return `${directions === 2 ? "Bi" : ""}${cell.toUpperCase()}${layers > 1 ? ` × ${layers}` : ""}`;
}

function score({ metric, value, baselines }) {
  const others = Object.entries(baselines).map(([name, other]) => say("cardBaseline", { name, score: round(other) }));
  const beside = others.map((textContent) => make("dd", { className: "note", textContent }));
  return make("div", {}, make("dt", { textContent: metric }), make("dd", { textContent: round(value) }), ...beside);
}

function round(value) {
  return number(value, { maximumSignificantDigits: 4 });
}

/** Something to be opened; what is inside is fetched when it is, and anew after that has failed. */
function closed(title, fetchContent) {
  const details = make("details", {}, make("summary", { textContent: title }));
  let fetched = false;
  const open = async () => {
    if (fetched || !details.open) return;
    fetched = true;
    try {
      details.append(...(await fetchContent()));
    } catch (error) {
      fetched = false;
      tell(error, open);
    }
  };
  details.addEventListener("toggle", open);
  return details;
}

/** As blobs, since a picture's address cannot carry a key. */
async function plots({ name, plots }) {
  const pictures = plots.map(async (plot) => {
    const src = URL.createObjectURL(await fetchBlob(`models/${name}/${plot}`));
    const image = make("img", { alt: say(PLOTS[plot]), src });
    await image.decode();
    URL.revokeObjectURL(src);
    return make("figure", {}, image, make("figcaption", { textContent: say(PLOTS[plot]) }));
  });
  return Promise.all(pictures);
}

async function whole({ name }) {
  return [make("pre", { tabIndex: 0, textContent: await read(`models/${name}/card`) })];
}
