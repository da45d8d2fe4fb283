"""Proof, before anything is published, that the graph in onnxruntime answers as the model in torch does."""

import numpy as np
import numpy.typing as npt
import torch

from service.artifact import Golden
from service.inference.runtime import Runtime, host, pad, select
from training.errors import PublishError
from training.loop import Model
from training.model import LanguageModel

BATCHES = (1, 2, 3, 5, 8, 17, 32)
LENGTHS = (1, 2, 3, 7, 16, 40)
# Of the largest logit. Sums in another order are off by 1e-6, which a net of large weights magnifies along a text; a gate in the
# wrong place is off by the whole logit at the first word.
TOLERANCE = 1e-3

Array = npt.NDArray[np.float32]


def check_parity(model: Model, runtime: Runtime, seed: int = 0) -> float:
    """The worst difference found over many batch sizes and lengths, as a share of the largest logit.

    Raises PublishError where it is above TOLERANCE, or where a row's answer depends on its batch-mates.
    """
    random, worst = np.random.default_rng(seed), 0.0
    vocabulary = runtime.manifest.sizes.vocabulary
    for rows in BATCHES:
        texts = [random.integers(1, vocabulary, random.choice(LENGTHS)).tolist() for _ in range(rows)]
        served, expected = _serve(runtime, texts), _compute(model, texts)
        difference = float(np.max(np.abs(served - expected)) / np.max(np.abs(expected)))
        if not difference <= TOLERANCE:  # so written, it refuses what is no number too
            raise PublishError(f"onnxruntime and torch differ by {difference:.2g} of the largest logit; the graph is not published")
        worst = max(worst, difference)
        for row, text in enumerate(texts[:4]):
            if not np.array_equal(_serve(runtime, [text])[0], served[row]):
                raise PublishError(f"row {row} of a batch of {rows} is answered differently than alone; the graph is not published")
    return worst


def golden_examples(model: Model, texts: list[tuple[str, list[int]]]) -> list[Golden]:
    """Texts with the ids they encode to and the logits they must give: the five highest, or all of a few labels."""
    examples = []
    for text, ids in texts:
        logits = _compute(model, [ids])[0]
        outputs = sorted(int(i) for i in np.argsort(-logits, kind="stable")[:5])
        examples.append(Golden(text=text, ids=ids, outputs=outputs, logits=[round(float(logits[i]), 5) for i in outputs]))
    return examples


def _serve(runtime: Runtime, texts: list[list[int]]) -> Array:
    """What the graph says. Generation in two steps, the first word apart, so that the state is proven too."""
    padding = runtime.manifest.special_ids.padding
    ids, lengths = pad(texts, padding)
    if runtime.manifest.task == "classify":
        return runtime.classify(ids, lengths)
    logits, state = runtime.step(ids[:, :1], np.minimum(lengths, 1), runtime.initial_state(len(texts)))
    longer = [row for row, text in enumerate(texts) if len(text) > 1]
    if longer:
        rest, rest_lengths = pad([texts[row][1:] for row in longer], padding)
        logits[longer] = runtime.step(rest, rest_lengths, select(host(state), longer))[0]
    return logits


@torch.no_grad()
def _compute(model: Model, texts: list[list[int]]) -> Array:
    """What torch says, each text alone and unpadded."""
    rows = []
    for text in texts:
        ids, lengths = torch.tensor([text]), torch.tensor([len(text)])
        rows.append(model(ids, lengths)[0][0, -1] if isinstance(model, LanguageModel) else model(ids, lengths)[0])
    return torch.stack(rows).numpy()
