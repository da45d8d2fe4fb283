"""How good a model is, beside simple baselines on the same data. Knows no files."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from service.artifact import Score
from training import calibration, measures
from training.baselines import linear_baselines
from training.config import Config
from training.corpus import Corpus
from training.errors import DataError, TrainingError
from training.feeds import EVALUATION_LANES, evaluation_batches, evaluation_lanes
from training.loop import mean_loss
from training.model import Classifier, LanguageModel
from training.ngrams import KneserNey, Texts
from training.rows import Row
from training.samples import Samples

Split = Literal["valid", "test", "train", "unlabelled"]
SPLITS: tuple[Split, ...] = ("test", "valid", "train")
MAX_NATS = 50.0  # chance among a million words costs 14; the loss itself is counted up to 87 alone
ORDERS = {"word": (5, 3), "subword": (5, 3), "char": (8, 5)}  # of the n-grams beside a language model


@dataclass(frozen=True)
class Answers:
    """A classifier's logits (N, C) for the texts of a split, and the labels (N) these have, in the order of corpus.rows(split)."""

    logits: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,)"""
        return np.asarray(self.logits.argmax(axis=1), np.int64)


@dataclass(frozen=True)
class Evaluation:
    """Scores on one split, and for a classifier all its answers there.

    The answers are those of the model as it came; temperature, chosen on the valid split, is what its logits are to be divided by.
    """

    scores: list[Score]
    split: Split
    labels: list[str]
    answers: Answers | None = None
    temperature: float = 1.0

    @property
    def calibrated(self) -> npt.NDArray[np.float32]:
        """The logits (N, C) of the answers as the published model gives them."""
        assert self.answers is not None  # a language model has none
        return np.asarray(self.answers.logits / self.temperature, np.float32)


@dataclass(frozen=True)
class _Lanes:
    """A stream's words as the language model is judged by them: lanes that each begin anew."""

    flat: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]


def evaluate(model: LanguageModel | Classifier, corpus: Corpus, config: Config) -> Evaluation:
    """The scores on the test split; where nothing was held out, on what there is, and the scores say so.

    A classifier comes with its tables settled and its output layer as it was trained. Raises TrainingError for a useless model.
    """
    model.eval()
    if isinstance(model, LanguageModel):
        return _evaluate_language_model(model, corpus, config)
    return _evaluate_classifier(model, corpus, config)


def _evaluate_language_model(model: LanguageModel, corpus: Corpus, config: Config) -> Evaluation:
    stream = config.fit.mode == "stream"
    split = _held_out(corpus, 2 * EVALUATION_LANES if stream else 1)
    samples = _samples(corpus, split)
    loss = mean_loss(model, evaluation_batches(config, corpus, samples), next(model.parameters()).device, stream)
    if not loss <= MAX_NATS:
        raise TrainingError(f"the loss is {loss:.3g} nats a word; a smaller fit.learning_rate may help")
    train: Texts = corpus.train
    judged: Texts = samples
    if stream:
        train, judged = _lanes(corpus.train, 1), _lanes(samples, evaluation_lanes(config, samples))
    vocabulary, beside = corpus.tokenizer.vocabulary_size, {}
    for order in ORDERS[config.text.unit]:
        baseline = KneserNey(train, vocabulary, order)
        cut = f", first {baseline.words:,} words" if baseline.cut else ""
        total, predictions = baseline.nats(judged)
        beside[f"Kneser-Ney {order}-grams{cut}"] = _figures(math.exp(total / predictions))
    statistics = corpus.statistics[split]
    scores = [
        Score(metric="perplexity", split=split, value=_figures(math.exp(loss)), baselines=beside),
        Score(metric="unknown word rate", split=split, value=_figures(statistics.unknown / max(1, statistics.words))),
    ]
    return Evaluation(scores, split, [])


def _evaluate_classifier(model: Classifier, corpus: Corpus, config: Config) -> Evaluation:
    split, labels = _held_out(corpus), corpus.labels
    answers = answer(model, corpus, config, split)
    rarer = _rarer(corpus.train.targets)
    found = _summary(answers.predicted, answers.targets, labels, rarer)
    beside = {
        name: _summary(np.array([int(label) for label in given]), answers.targets, labels, rarer)
        for name, given in linear_baselines(_numbered(corpus, "train"), len(corpus.train), _numbered(corpus, split)).items()
    }
    scores = [
        Score(metric=metric, split=split, value=value, baselines={name: figures[metric] for name, figures in beside.items()})
        for metric, value in found.items()
    ]
    temperature = 1.0
    if len(corpus.valid):
        chosen = answers if split == "valid" else answer(model, corpus, config, "valid")
        temperature = calibration.temperature(chosen.logits, chosen.targets)
    evaluation = Evaluation(scores, split, labels, answers, temperature)
    scores.append(_calibration_score(evaluation, answers))
    return evaluation


@torch.no_grad()
def answer(model: Classifier, corpus: Corpus, config: Config, split: Split) -> Answers:
    """What the model says to every text of a split."""
    samples, device = _samples(corpus, split), next(model.parameters()).device
    model.eval()
    logits, lengths = [], []
    if not len(samples):
        return Answers(np.empty((0, len(corpus.labels)), np.float32), np.empty(0, np.int64))
    for batch in evaluation_batches(config, corpus, samples):
        given = batch.to(device)
        logits.append(model.logits(given.ids, given.lengths, given.grams).float().cpu().numpy())
        lengths.append(batch.lengths.numpy())
    rows = _rows_of(samples.lengths, np.concatenate(lengths))
    ordered = np.empty_like(np.concatenate(logits))
    ordered[rows] = np.concatenate(logits)
    return Answers(ordered, samples.targets.astype(np.int64))


def _rows_of(lengths: npt.NDArray[np.int32], given: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which rows, whose lengths (N) are known, batches gave, by the lengths (N) that they gave.

    Batches sort neighbours by length and leave equal ones in order: where lengths fall, the next neighbours begin.
    """
    ends = [*(np.flatnonzero(np.diff(given) < 0) + 1).tolist(), len(given)]
    starts = [0, *ends[:-1]]
    rows = np.concatenate([start + np.argsort(lengths[start:end], kind="stable") for start, end in zip(starts, ends, strict=True)])
    assert np.array_equal(lengths[rows], given), "batches came in another order than their promise"
    return rows


def _summary(predicted: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], labels: list[str], rarer: int) -> dict[str, float]:
    table = measures.confusion(predicted, targets, len(labels))
    return {metric: _figures(value) for metric, value in measures.summary(table, labels, rarer).items()}


def _calibration_score(evaluation: Evaluation, answers: Answers) -> Score:
    before = calibration.expected_calibration_error(answers.logits, answers.targets)
    after = calibration.expected_calibration_error(evaluation.calibrated, answers.targets)
    beside = {"before calibration": _figures(before)} if evaluation.temperature != 1.0 else {}
    return Score(metric="expected calibration error", split=evaluation.split, value=_figures(after), baselines=beside)


def _rarer(targets: npt.NDArray[np.int32]) -> int:
    """The label that fewer rows have; of two that are alike the later one, which is the positive one where labels are 0 and 1."""
    counts = np.bincount(targets)
    return len(counts) - 1 - int(counts[::-1].argmin())


def _numbered(corpus: Corpus, split: Split) -> Iterator[Row]:
    """A split's rows with the number of the label instead of the label."""
    targets = _samples(corpus, split).targets
    return (Row(row.text, str(target)) for row, target in zip(corpus.rows(split), targets, strict=True))


def _held_out(corpus: Corpus, words: int = 1) -> Split:
    """The first split that has as many words."""
    for split in SPLITS:
        if _samples(corpus, split).words >= words:
            return split
    raise DataError(f"the training split has {corpus.train.words} words, which are too few to score a model on")


def _samples(corpus: Corpus, split: Split) -> Samples:
    found = getattr(corpus, split)
    assert isinstance(found, Samples)
    return found


def _lanes(samples: Samples, rows: int) -> Texts:
    length = samples.words // rows
    return _Lanes(samples.flat[: length * rows], np.full(rows, length, np.int32))


def _figures(value: float) -> float:
    """Four significant figures: more would claim more than the data can say."""
    return float(f"{value:.4g}")
