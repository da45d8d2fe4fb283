"""How good a model is, beside a simple baseline on the same data. Knows no files."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from service.artifact import Score
from training.data import Batch, Corpus, Sample, batches
from training.errors import TrainingError
from training.loop import mean_loss
from training.model import Classifier, LanguageModel
from training.rows import Row

Split = Literal["valid", "test", "train"]
CPU = torch.device("cpu")
MAX_NATS = 100.0


def evaluate(model: LanguageModel | Classifier, corpus: Corpus, batch: int) -> list[Score]:
    """The scores on the test split; where nothing was held out, on what there is, and the score says so."""
    split: Split = "test" if corpus.test else "valid" if corpus.valid else "train"
    samples: list[Sample] = getattr(corpus, split)
    if isinstance(model, LanguageModel):
        return _score_language_model(model, corpus, samples, split, batch)
    return _score_classifier(model, corpus, samples, split, batch)


def _score_language_model(model: LanguageModel, corpus: Corpus, samples: list[Sample], split: Split, batch: int) -> list[Score]:
    loss = mean_loss(model, _evaluation_batches(samples, corpus, batch, generates=True), CPU)
    if loss > MAX_NATS:
        raise TrainingError(f"the loss is {loss:.3g} nats a word; a smaller fit.learning_rate may help")
    model.eval()
    bigrams = BigramModel(corpus.train, corpus.tokenizer.vocabulary_size)
    words = [i for sample in samples for i in sample.ids]
    unknown = words.count(corpus.tokenizer.unknown_id) / len(words)
    return [
        Score(
            metric="perplexity",
            split=split,
            value=_figures(math.exp(loss)),
            baseline="Kneser-Ney bigrams",
            baseline_value=_figures(bigrams.perplexity(samples)),
        ),
        Score(metric="unknown word rate", split=split, value=_figures(unknown)),
    ]


def _score_classifier(model: Classifier, corpus: Corpus, samples: list[Sample], split: Split, batch: int) -> list[Score]:
    predicted, expected = predict(model, corpus, samples, batch)
    rows: list[Row] = getattr(corpus.splits, split)
    baseline, baseline_expected = _linear_baseline(corpus.splits.train, rows)
    name = "TF-IDF over words, logistic regression"
    accuracy = Score(
        metric="accuracy",
        split=split,
        value=_figures(accuracy_score(expected, predicted)),
        baseline=name,
        baseline_value=_figures(accuracy_score(baseline_expected, baseline)),
    )
    macro = Score(
        metric="macro F1",
        split=split,
        value=_figures(f1_score(expected, predicted, average="macro")),
        baseline=name,
        baseline_value=_figures(f1_score(baseline_expected, baseline, average="macro")),
    )
    return [accuracy, macro]


@torch.no_grad()
def predict(
    model: Classifier, corpus: Corpus, samples: list[Sample], batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Predicted and expected label indices, in the same order, which is not that of samples."""
    model.eval()
    predicted, expected = [], []
    for part in _evaluation_batches(samples, corpus, batch, generates=False):
        predicted.append(model(part.ids, part.lengths).argmax(dim=-1))
        expected.append(part.targets)
    return torch.cat(predicted).numpy(), torch.cat(expected).numpy()


class BigramModel:
    """Interpolated Kneser-Ney over pairs of words (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7), discount 0.75."""

    def __init__(self, samples: Sequence[Sample], vocabulary: int, discount: float = 0.75) -> None:
        self._vocabulary, self._discount = vocabulary, discount
        self._pairs = Counter(pair for sample in samples for pair in pairwise(sample.ids))
        self._contexts: Counter[int] = Counter()
        self._followers: Counter[int] = Counter()
        self._forerunners: Counter[int] = Counter()
        for (first, second), count in self._pairs.items():
            self._contexts[first] += count
            self._followers[first] += 1
            self._forerunners[second] += 1

    def probability(self, first: int, second: int) -> float:
        """P(second | first)"""
        seen = self._contexts[first]
        if not seen:
            return self._continuation(second)
        share = max(self._pairs[first, second] - self._discount, 0) / seen
        return share + self._discount * self._followers[first] / seen * self._continuation(second)

    def perplexity(self, samples: Sequence[Sample]) -> float:
        memory: dict[tuple[int, int], float] = defaultdict(float)
        for sample in samples:
            for pair in pairwise(sample.ids):
                memory[pair] += 1
        nats = -sum(times * math.log(self.probability(*pair)) for pair, times in memory.items())
        return math.exp(nats / sum(memory.values()))

    def _continuation(self, second: int) -> float:
        """In how many contexts a word occurs, interpolated with every word alike."""
        kinds = len(self._pairs)
        share = max(self._forerunners[second] - self._discount, 0) / kinds
        return share + self._discount * len(self._forerunners) / kinds / self._vocabulary


def _linear_baseline(train: list[Row], test: list[Row]) -> tuple[list[str], list[str]]:
    """What words alone reach: predicted and expected labels."""
    words = TfidfVectorizer(lowercase=False, token_pattern=r"\w+|[^\w\s]")  # noqa: S106  (no password)
    pipeline = make_pipeline(words, LogisticRegression(max_iter=1000))
    pipeline.fit([row.text for row in train], [row.label for row in train])
    return list(pipeline.predict([row.text for row in test])), [row.label or "" for row in test]


def _evaluation_batches(samples: list[Sample], corpus: Corpus, size: int, generates: bool) -> list[Batch]:
    return list(batches(samples, size, corpus.tokenizer.padding_id, generates))


def _figures(value: float) -> float:
    """Four significant figures: more would claim more than the data can say."""
    return float(f"{value:.4g}")
