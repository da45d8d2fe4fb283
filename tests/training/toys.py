"""Toy models and what they learn, for the tests of the loop: each trains in a blink, in this process or in one of its own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.batches import Batch, batch_count, batches, lane_count, lanes
from training.checkpoint import Checkpoint
from training.config import FitConfig, ModelConfig, PretrainConfig
from training.loop import Feed, fit
from training.model import Classifier, LanguageModel
from training.pretrain import BothDirections
from training.progress import Epoch, Fitted, Progress
from training.samples import Samples

CPU = torch.device("cpu")
PADDING, UNKNOWN, FIRST_WORD, VOCABULARY = 0, 1, 2, 14
BUCKETS = 20
Weights = dict[str, Tensor]
Tell = Callable[[Progress | Epoch], None]

# Sentences that count upwards: what follows a word is certain. And texts whose first word decides their label.
COUNTING = Samples.of([([first + step for step in range(5)], 0) for first in range(2, 9)] * 4)
_LABELLED = [([2 + index % 2, 4 + index % 7, 5 + index % 5][: 1 + (index + 2) % 4], index % 2) for index in range(33)]
LABELLED = Samples.of(_LABELLED)
CONTRARY = Samples.of((ids, 1 - target) for ids, target in _LABELLED)

# The same with words that the vocabulary lacks, three of them, each described by runs of its characters (0: none).
KNOWN_GRAMS = np.array([[1 + word % BUCKETS, 1 + (3 * word) % BUCKETS, 0] for word in range(VOCABULARY)], np.int32)
UNKNOWN_GRAMS = np.array([[3, 9, 12], [7, 0, 0], [4, 9, 0]], np.int32)
_SPELLED = [([*ids, VOCABULARY + index % 3] if index % 4 else ids, target) for index, (ids, target) in enumerate(_LABELLED)]
SPELLED = Samples.of(_SPELLED, UNKNOWN_GRAMS)


def on_cpu() -> Accelerator:
    """What it holds is shared by the whole process; a new one each time is not surprised when another test resets that."""
    return Accelerator(cpu=True)


def language_model(seed: int = 1, **config: object) -> LanguageModel:
    torch.manual_seed(seed)
    sizes = {"cell": "gru", "embedding": 8, "hidden": 8, **config}
    return LanguageModel(ModelConfig.model_validate(sizes), VOCABULARY, PADDING)


def classifier(seed: int = 1, fitting: FitConfig | None = None, labels: int = 2, **config: object) -> Classifier:
    """With ngrams among config it reads the words' runs of characters too."""
    torch.manual_seed(seed)
    sizes = {"cell": "gru", "embedding": 8, "hidden": 8, "buckets": BUCKETS, **config}
    grams = KNOWN_GRAMS if config.get("ngrams") else None
    return Classifier(ModelConfig.model_validate(sizes), VOCABULARY, PADDING, UNKNOWN, labels, grams, fitting, [22, 11])


def settings(**changes: object) -> FitConfig:
    return FitConfig.model_validate({"epochs": 3, "batch_size": 8, "learning_rate": 0.02, **changes})


def in_batches(samples: Samples, size: int, generates: bool, seed: int | None = None, start: int = 0) -> Iterable[Batch]:
    return batches(samples, size, padding_id=PADDING, vocabulary=VOCABULARY, generates=generates, seed=seed, start=start)


def sentence_feed(samples: Samples, valid: Samples | None, size: int, generates: bool, seed: int = 1) -> Feed:
    """Every text begins anew."""
    judge = None if valid is None else partial(in_batches, valid, 8, generates)
    return Feed(
        lambda epoch, start: in_batches(samples, size, generates, 1000 * seed + epoch, start), batch_count(samples, size), judge
    )


def stream_feed(samples: Samples, valid: Samples | None, rows: int, window: int, seed: int = 1) -> Feed:
    """All texts as one, the state carried on."""
    judge = None if valid is None else partial(lanes, valid, 3, window)
    return Feed(
        lambda epoch, start: lanes(samples, rows, window, seed=1000 * seed + epoch, start=start),
        lane_count(samples, rows, window),
        judge,
        carries_state=True,
    )


def train(
    model: LanguageModel | Classifier,
    samples: Samples,
    valid: Samples | None = None,
    seed: int = 1,
    tell: Tell = lambda _: None,
    **changes: object,
) -> Fitted:
    """As training.run does it, with settings that suit a toy."""
    fitting = settings(**changes)
    feed = sentence_feed(samples, valid, fitting.batch_size, isinstance(model, LanguageModel), seed)
    return fit(model, feed, fitting, on_cpu(), seed, None, tell)


def weights(model: nn.Module) -> Weights:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(fitted: Fitted) -> list[tuple[int, float, float | None]]:
    """The history without how fast it was."""
    return [(epoch.number, epoch.train_loss, epoch.valid_loss) for epoch in fitted.history]


class Often(Checkpoint):
    """A checkpoint that is due after every so many batches, however fast they go."""

    def __init__(self, path: Path, batches: int, identity: str = "this run") -> None:
        super().__init__(path, identity, every_s=3600, warn=warn)
        self.batches, self.asked = batches, 0

    @property
    def due(self) -> bool:
        self.asked += 1
        return self.asked % self.batches == 0


def warn(line: str) -> None:
    """No checkpoint of a test may fail to be written."""
    raise AssertionError(line)


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@dataclass(frozen=True)
class Case:
    """Something to train, once: two of a kind begin from the same weights."""

    model: nn.Module
    feed: Feed
    fitting: FitConfig

    def fit(self, checkpoint: Checkpoint | None = None, tell: Tell = lambda _: None) -> Fitted:
        return fit(self.model, self.feed, self.fitting, on_cpu(), 1, checkpoint, tell)

    def fit_for(self, batches: int, checkpoint: Checkpoint) -> Fitted:
        """Raises Interrupted once so many batches were learnt from."""
        left = batches

        def until(epoch: int, start: int) -> Iterator[Batch]:
            nonlocal left
            for batch in self.feed.train(epoch, start):
                if not left:
                    raise Interrupted
                left -= 1
                yield batch

        return replace(self, feed=replace(self.feed, train=until)).fit(checkpoint)


def sentence_case(size: int = 8, dropout: float = 0.3, **changes: object) -> Case:
    """A language model with everything that chance has a hand in, and averaged weights."""
    model = language_model(cell="lstm", layers=2, dropout=dropout, word_dropout=dropout, weight_dropout=dropout)
    fitting = settings(**{"schedule": "cosine", "average": 0.9, "weight_decay": 0.1, **changes})
    return Case(model, sentence_feed(COUNTING, COUNTING, size, generates=True), fitting)


def stream_case(rows: int = 3, dropout: float = 0.3, **changes: object) -> Case:
    model = language_model(cell="lstm", dropout=dropout, weight_dropout=dropout)
    return Case(model, stream_feed(COUNTING, COUNTING, rows, 6), settings(**{"optimiser": "sgd", "learning_rate": 1.0, **changes}))


def ngrams_case(size: int = 8, dropout: float = 0.3, **changes: object) -> Case:
    fitting = settings(**{"class_weights": "balanced", "label_smoothing": 0.1, **changes})
    model = classifier(1, fitting, ngrams=3, bidirectional=True, pooling="attention", dropout=dropout, word_dropout=dropout)
    return Case(model, sentence_feed(SPELLED, SPELLED, size, generates=False), fitting)


def pretrain_case(size: int = 8, dropout: float = 0.3, **changes: object) -> Case:
    model = classifier(1, ngrams=3, bidirectional=True, layers=2)
    objective = BothDirections(model, PretrainConfig(epochs=3, dropout=dropout, words=9), FIRST_WORD)
    return Case(objective, sentence_feed(SPELLED, None, size, generates=False), settings(**{"schedule": "linear", **changes}))


CASES: dict[str, Callable[..., Case]] = {
    "sentence": sentence_case,
    "stream": stream_case,
    "ngrams": ngrams_case,
    "pretrain": pretrain_case,
}
