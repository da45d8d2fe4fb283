"""Proof, before anything is published, that the graph in onnxruntime answers as the model in torch does."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from service.artifact import Golden, Ngrams
from service.inference.runtime import Runtime, host, pad, select
from service.words import Words
from training.errors import PublishError
from training.model import LanguageModel, Model

BATCHES = (1, 2, 3, 5, 8, 17, 32)
LENGTHS = (1, 2, 3, 7, 16, 40)
UNKNOWN_WORDS = 3  # different ones a text at the most
# Of the largest logit. Sums in another order are off by 1e-6, which a net of large weights magnifies along a text; a gate in the
# wrong place is off by the whole logit at the first word.
TOLERANCE = 1e-3

Array = npt.NDArray[np.float32]


def check_parity(model: Model, runtime: Runtime, seed: int = 0) -> float:
    """The worst difference found over many batch sizes and lengths, as a share of the largest logit.

    Raises PublishError where it is above TOLERANCE, or where a row's answer depends on its batch-mates.
    """
    random, worst = np.random.default_rng(seed), 0.0
    for rows in BATCHES:
        texts = [_draw(random, runtime) for _ in range(rows)]
        served, expected = _serve(runtime, texts), _compute(model, texts)
        difference = float(np.max(np.abs(served - expected)) / np.max(np.abs(expected)))
        if not difference <= TOLERANCE:  # so written, it refuses what is no number too
            raise PublishError(f"onnxruntime and torch differ by {difference:.2g} of the largest logit; the graph is not published")
        worst = max(worst, difference)
        for row, text in enumerate(texts[:4]):
            if not np.array_equal(_serve(runtime, [text])[0], served[row]):
                raise PublishError(f"row {row} of a batch of {rows} is answered differently than alone; the graph is not published")
    return worst


def golden_examples(model: Model, texts: Sequence[tuple[str, Words]]) -> list[Golden]:
    """Texts with the ids they encode to and the logits they must give: the five highest, or all of a few labels."""
    examples = []
    for text, words in texts:
        logits = _compute(model, [words])[0]
        outputs = sorted(int(i) for i in np.argsort(-logits, kind="stable")[:5])
        examples.append(Golden(text=text, ids=words.ids, outputs=outputs, logits=[round(float(logits[i]), 5) for i in outputs]))
    return examples


def _draw(random: np.random.Generator, runtime: Runtime) -> Words:
    """A text of any words, which the model may read; some of them unknown ones of any characters, where it looks at these."""
    vocabulary, ngrams = runtime.manifest.sizes.vocabulary, runtime.manifest.ngrams
    grams = [] if ngrams is None else [_draw_word(random, ngrams) for _ in range(random.integers(0, UNKNOWN_WORDS + 1))]
    ids = random.integers(1, vocabulary, random.choice(LENGTHS))
    if grams:
        ids = np.where(random.random(len(ids)) < 0.3, vocabulary + random.integers(0, len(grams), len(ids)), ids)
    return Words(ids.tolist(), grams)


def _draw_word(random: np.random.Generator, ngrams: Ngrams) -> npt.NDArray[np.int64]:
    """(slots): some runs of characters, which come first, or none."""
    filled = np.arange(ngrams.slots) < random.integers(0, ngrams.slots + 1)
    return np.where(filled, random.integers(1, ngrams.buckets + 1, ngrams.slots), 0)


def _serve(runtime: Runtime, texts: list[Words]) -> Array:
    """What the graph says. Generation in two steps, the first word apart, so that the state is proven too."""
    padding = runtime.manifest.special_ids.padding
    if runtime.manifest.task == "classify":
        return runtime.classify_texts(texts)
    ids, lengths = pad([text.ids for text in texts], padding)
    logits, state = runtime.step(ids[:, :1], np.minimum(lengths, 1), runtime.initial_state(len(texts)))
    longer = [row for row, text in enumerate(texts) if len(text.ids) > 1]
    if longer:
        rest, rest_lengths = pad([texts[row].ids[1:] for row in longer], padding)
        logits[longer] = runtime.step(rest, rest_lengths, select(host(state), longer))[0]
    return logits


@torch.no_grad()
def _compute(model: Model, texts: list[Words]) -> Array:
    """What torch says, each text alone and unpadded."""
    rows = []
    for text in texts:
        ids, lengths = torch.tensor([text.ids]), torch.tensor([len(text.ids)])
        if isinstance(model, LanguageModel):
            rows.append(model.logits(ids, lengths)[0][0, -1])
        else:
            grams = torch.from_numpy(np.stack(text.grams)) if text.grams else None
            rows.append(model.logits(ids, lengths, grams)[0])
    return torch.stack(rows).numpy()
