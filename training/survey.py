"""What the data are like, in figures and in words, before an hour is spent on them. Knows counts alone: no text and no screen."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from service.artifact import Unit
from training.corpus import Corpus, SplitStatistics
from training.encoding import LEARNT_FROM

SHOWN_LABELS = 12
MANY_UNKNOWN = 0.2
MANY_SHARED = 0.01  # short texts are said twice by chance; more than this is no chance
MANY_CUT = 0.05
RARE_LABEL = 0.01
SHOWN_DOUBTS = 5  # of one kind
SHARES_APART = 0.1
FEW_ROWS = 100

Statistics = dict[str, SplitStatistics]
UNITS: dict[Unit, str] = {"word": "words", "subword": "pieces of words", "char": "characters"}


def figures(corpus: Corpus, unit: Unit = "word") -> Iterator[list[str]]:
    """A table: a row with the names of the splits that have rows, then a row a figure; each begins with its name."""
    found, units = _found(corpus), UNITS[unit]
    yield ["", *found]
    for name, figure in _FIGURES.items():
        yield [name.format(units), *(figure(counts) for counts in found.values())]
    yield ["text is in train too", *(_of(c.duplicates, c.rows) if split in ("valid", "test") else "" for split, c in found.items())]
    if "valid" in found and "test" in found:
        yield ["text is in valid too", *(_of(c.in_valid, c.rows) if split == "test" else "" for split, c in found.items())]
    if "unlabelled" in found:
        shared = found["unlabelled"].duplicates
        yield ["text is in valid or test", *(f"{shared:,}" if split == "unlabelled" else "" for split in found)]
    if any(counts.nul_rows for counts in found.values()):
        yield ["rows with NUL characters", *(f"{counts.nul_rows:,}" for counts in found.values())]
    yield from _labels(found)


def reading(corpus: Corpus, unit: Unit = "word") -> Iterator[str]:
    """What the model reads of a text, and what it learns to predict."""
    special, tokenizer, units = len(corpus.tokenizer.special_ids), corpus.tokenizer, UNITS[unit]
    yield f"{tokenizer.vocabulary_size - special:,} {units} known (and {special} special ids)"
    if corpus.ngrams is not None:
        yield f"words are read by their runs of 1 to {corpus.ngrams.longest} characters too, in {corpus.ngrams.buckets:,} rows"
    if not corpus.labels:
        yield f"{corpus.predictions:,} next {units} to predict"


def doubts(corpus: Corpus, unit: Unit = "word") -> Iterator[str]:
    """A sentence for each thing about the data that a person should look at before training."""
    found, units = _found(corpus), UNITS[unit]
    if "test" not in found:
        yield f"there is no test split: the scores will be those of {'valid' if 'valid' in found else 'train'}"
    yield from _doubts_of_splits(found)
    unknown = {split: (counts.unknown, counts.words) for split, counts in found.items()}
    if corpus.ngrams is None and (where := _where(unknown, MANY_UNKNOWN)):
        more = "a larger text.max_words, or " + ("model.ngrams=4," if corpus.labels else "text.unit=char,")
        yield f"many {units} are unknown, {where}: {more if unit == 'word' else 'a larger text.max_words'} may help"
    if where := _where({split: (found[split].cut, found[split].rows) for split in LEARNT_FROM if split in found}, MANY_CUT):
        most = len(found["train"].lengths) - 1
        yield f"many texts are longer than {most:,} {units} and cut there, {where}: a larger text.max_length may help"
    if where := _where({split: (counts.nul_rows, counts.rows) for split, counts in found.items()}, 0):
        yield f"some rows have NUL characters, read as spaces, {where}: it may not be UTF-8 text"
    yield from _doubts_of_labels(found)


def quantile(lengths: npt.NDArray[np.int64], share: float) -> int:
    """The least number of words that a share of the texts does not exceed; lengths: how many texts have 0, 1, ... words."""
    return int(np.searchsorted(np.cumsum(lengths), share * lengths.sum()))


def _doubts_of_splits(found: Statistics) -> Iterator[str]:
    """Whether what is measured on what was held out will mean something."""
    for split in [split for split in ("valid", "test") if split in found]:
        counts = found[split]
        if counts.duplicates > MANY_SHARED * counts.rows:
            shared = _share(counts.duplicates, counts.rows)
            yield f"{shared} of the rows of {split} have a text that train has too: scores there say less about new texts"
        if counts.in_valid > MANY_SHARED * counts.rows:
            shared = _share(counts.in_valid, counts.rows)
            yield f"{shared} of the rows of test have a text that valid has too: what is chosen on valid flatters the scores"
        if counts.rows < FEW_ROWS:
            yield f"{split} has only {counts.rows:,} rows: what is measured on it is rough"
    if "unlabelled" in found and (shared_rows := found["unlabelled"].duplicates):
        yield f"{shared_rows:,} of the unlabelled texts are in valid or test: pre-training on them flatters the scores"


def _doubts_of_labels(found: Statistics) -> Iterator[str]:
    train = found["train"]
    rare = sorted((count, label) for label, count in train.labels.items() if count < RARE_LABEL * train.rows)
    for count, label in rare[:SHOWN_DOUBTS]:
        yield f"only {_share(count, train.rows)} of the rows of train ({count:,}) have the label {label!r}: few to learn from"
    if len(rare) > SHOWN_DOUBTS:
        yield f"and so have {len(rare) - SHOWN_DOUBTS:,} labels more: is this the column of the labels (--label-column)?"
    for label, count in train.labels.items():
        share = count / train.rows
        for split, counts in found.items():
            here = counts.labels.get(label, 0) / counts.rows
            if counts.labels and counts.rows >= FEW_ROWS and abs(here - share) > SHARES_APART:
                yield f"{here:.0%} of the rows of {split} have the label {label!r}, but {share:.0%} of those of train"


def _where(parts: dict[str, tuple[int, int]], more_than: float) -> str:
    """The splits in which a part is more than a share of the whole, with what it is."""
    return ", ".join(f"{_share(part, whole)} in {split}" for split, (part, whole) in parts.items() if part > more_than * whole)


def _labels(found: Statistics) -> Iterator[list[str]]:
    """Every split's share of the most frequent labels; unlabelled texts have none."""
    by_count = sorted(found["train"].labels.items(), key=lambda pair: -pair[1])
    for label, _ in islice(by_count, SHOWN_LABELS):
        yield _label(label, found)
    if len(by_count) > SHOWN_LABELS:
        yield [f"and {len(by_count) - SHOWN_LABELS:,} labels more, the rarest:", *("" for _ in found)]
        label, rarest = by_count[-1][0], [counts.labels.get(by_count[-1][0], 0) for counts in found.values()]
        yield [
            f"label {label}",
            *(_share(part, c.rows) if c.labels else "" for part, c in zip(rarest, found.values(), strict=True)),
        ]


def _label(label: str, found: Statistics) -> list[str]:
    shares = (_share(counts.labels.get(label, 0), counts.rows) if counts.labels else "" for counts in found.values())
    return [f"label {label}", *shares]


def _found(corpus: Corpus) -> Statistics:
    return {split: counts for split, counts in corpus.statistics.items() if counts.rows}


def _words_at(counts: SplitStatistics, share: float) -> str:
    """The last count is of texts that have as many words or more."""
    words = quantile(counts.lengths, share)
    return f"{words:,}{'+' if words == len(counts.lengths) - 1 and counts.longest > words else ''}"


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({_share(part, whole)})" if part else "0"


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return f"{share:.2%}" if 0 < share < 0.01 else f"{share:.1%}"


_FIGURES: dict[str, Callable[[SplitStatistics], str]] = {
    "rows": lambda counts: f"{counts.rows:,}",
    "{}": lambda counts: f"{counts.words:,}",
    "unknown {}": lambda counts: _share(counts.unknown, counts.words),
    "{} a text, median": lambda counts: _words_at(counts, 0.5),
    "{} a text, 95% have at most": lambda counts: _words_at(counts, 0.95),
    "{} a text, longest": lambda counts: f"{counts.longest:,}",
    "texts cut for length": lambda counts: _of(counts.cut, counts.rows),
}
