"""What a linear model reaches on the same rows: TF-IDF over words, or over runs of characters, with logistic regression.

Owns the choices that make these as good as they get on 150,000 Korean reviews. Knows no neural model.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training.rows import Row, evenly

MAX_ROWS = 200_000
MANY_ROWS = 10_000  # from here on, a run of characters that stands in one or two texts only costs time
TEXTS_TOGETHER = 10_000
UNSEEN = -12.0  # the logarithm of the share of a label that no text had
STRENGTH = 6.0  # of C: weaker, and spam is missed; stronger, and long runs of characters are learnt by heart


def linear_baselines(train: Iterable[Row], count: int, test: Iterable[Row]) -> dict[str, list[str]]:
    """The labels that each baseline, by name, gives to the test rows.

    count: the rows of train; of more than MAX_ROWS so many are learnt from, evenly over all of them, as a file may be sorted.
    """
    rows = list(evenly(train, count, MAX_ROWS))
    cut = f", {len(rows):,} of {count:,} rows" if len(rows) < count else ""
    texts, labels = [row.text for row in rows], [row.label or "" for row in rows]
    kinds = {f"TF-IDF over words{cut}": _words(), f"TF-IDF over characters 1-4{cut}": _characters(len(rows))}
    models = {name: (vectorizer, _regress(vectorizer, texts, labels)) for name, vectorizer in kinds.items()}
    given: dict[str, list[str]] = {name: [] for name in models}
    for part in _parts(row.text for row in test):
        for name, (vectorizer, regression) in models.items():
            given[name] += map(str, regression.predict(vectorizer.transform(part)))
    return given


def _words() -> TfidfVectorizer:
    pattern = r"\w+|[^\w\s]"  # marks are words too: a row of exclamation marks says something
    return TfidfVectorizer(lowercase=False, token_pattern=pattern, sublinear_tf=True, dtype=np.float32)


def _characters(rows: int) -> TfidfVectorizer:
    fewest_texts = 3 if rows >= MANY_ROWS else 1
    return TfidfVectorizer(
        lowercase=False, analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=fewest_texts, dtype=np.float32
    )


def character_scores(
    train: Iterable[Row], targets: npt.NDArray[np.integer], texts: Sequence[Iterable[Row]], labels: int
) -> list[npt.NDArray[np.float32]]:
    """Logarithms of the labels' shares (N, labels) for each of some texts, by the linear model over characters.

    It learns from rows of train, as the baselines do; the labels of all of these are targets.
    """
    rows = [row.text for row in evenly(train, len(targets), MAX_ROWS)]
    vectorizer = _characters(len(rows))
    regression = _regress(vectorizer, rows, list(evenly(targets.tolist(), len(targets), MAX_ROWS)))
    found = []
    for some in texts:
        blocks = [np.full((0, labels), UNSEEN, np.float32)]
        for part in _parts(row.text for row in some):
            block = np.full((len(part), labels), UNSEEN, np.float32)
            block[:, regression.classes_] = np.maximum(regression.predict_log_proba(vectorizer.transform(part)), UNSEEN)
            blocks.append(block)
        found.append(np.concatenate(blocks))
    return found


def _regress(vectorizer: TfidfVectorizer, texts: Sequence[str], labels: Sequence[object]) -> LogisticRegression | DummyClassifier:
    alike = len(set(labels)) == 1  # as those of a small sorted file may be
    regression = DummyClassifier() if alike else LogisticRegression(C=STRENGTH, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so many steps the last digits change no answer
        regression.fit(vectorizer.fit_transform(texts), labels)
    return regression


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts by the ten thousand: vectors of runs of characters are large."""
    rest = iter(texts)
    while part := list(islice(rest, TEXTS_TOGETHER)):
        yield part
