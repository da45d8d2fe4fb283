"""Whether a new model is better than the version that serves now, on the same test texts. Knows no torch.

Classification compares accuracy. Generation compares perplexity at the words that both vocabularies know: over its own words
alone, a model with fewer of them would look better.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service import artifact
from service.artifact import MAX_INPUT_WORDS, Artifact
from service.errors import ArtifactError, SettingsError
from service.inference.runtime import Held, Runtime, host, pad, select
from service.words import Words
from training.rows import Row, evenly

T = TypeVar("T")

MAX_ROWS = 20_000  # differences that more would show are no reason to keep a model back
ROWS_TOGETHER = 64


@dataclass(frozen=True)
class Verdict:
    """How a model did beside the version that serves.

    version: None where there is none to compare with; refused: it did worse; same: it is the same, graph and words.
    """

    version: int | None
    refused: bool
    sentence: str
    same: bool = False


@dataclass(frozen=True)
class Candidate:
    """A model that answers: its folder as read, and its session."""

    artifact: Artifact
    runtime: Runtime


def judge(models: Path, candidate: Candidate, rows: Iterable[Row], count: int, names: dict[str, str]) -> Verdict:
    """Compares candidate with the highest good version of its name in models. names: what the labels in rows are called in answers.

    count: how many rows there are; of very many some are taken, evenly over all of them.

    rows are those of the test split; with none, or with nothing to compare with, nothing is refused, and the sentence says why.
    """
    name = candidate.artifact.manifest.name
    served = serving(models, name)
    if served is None:
        return Verdict(None, False, f"there is no version of {name} to compare with")
    version = served.artifact.manifest.version
    task = candidate.artifact.manifest.task
    if served.artifact.manifest.task != task:
        other = served.artifact.manifest.task
        return Verdict(version, True, f"version {version} is for /{other}, this model for /{task}: give it a name of its own")
    if _is_same(candidate.artifact, served.artifact):
        return Verdict(version, False, f"version {version} is this very model", same=True)
    texts = list(evenly(rows, count, MAX_ROWS))
    if not texts:
        return Verdict(version, False, f"nothing was held out to test on, so it was not compared with version {version}")
    if task == "classify":
        ours, theirs = (accuracy(model, texts, names) for model in (candidate, served))
        return _verdict(version, "accuracy", ours, theirs, ours < theirs, f"{len(texts):,} test rows")
    return _judge_language_models(version, candidate, served, texts)


def serving(models: Path, name: str) -> Candidate | None:
    """The version that a service would serve from models: the highest good one."""
    folders = dict(artifact.versions(models)).get(name, []) if models.is_dir() else []
    for folder in folders:
        try:
            loaded = artifact.load(folder)
            return Candidate(loaded, Runtime(loaded))
        except (ArtifactError, SettingsError):
            continue
    return None


def accuracy(model: Candidate, rows: list[Row], names: dict[str, str]) -> float:
    """The share of rows whose label the model finds; a label that it does not have is one that it does not find."""
    labels, right = model.artifact.manifest.labels, 0
    encoded = [(_cut(model.artifact.encode(row.text)), names.get(row.label or "", row.label)) for row in rows]
    known = sorted((pair for pair in encoded if pair[0].ids), key=lambda pair: len(pair[0].ids))
    for part in _batched(known):
        logits = model.runtime.classify_texts([words for words, _ in part])
        right += sum(labels[best] == label for best, (_, label) in zip(logits.argmax(axis=1), part, strict=True))
    return right / len(rows)


def _is_same(ours: Artifact, theirs: Artifact) -> bool:
    return ours.graph == theirs.graph and ours.tokenizer.to_json() == theirs.tokenizer.to_json()


def _judge_language_models(version: int, ours: Candidate, theirs: Candidate, rows: list[Row]) -> Verdict:
    pairs = [(_prompt(ours.artifact, row.text), _prompt(theirs.artifact, row.text)) for row in rows]
    pairs = [(a, b) for a, b in pairs if len(a) == len(b) > 1]
    if len(pairs) < len(rows) / 2:
        return Verdict(version, True, f"version {version} splits texts into other words: nobody can say whether this one is better")
    scored = [_known_to_both(ours.artifact, theirs.artifact, *pair) for pair in pairs]
    count = sum(int(places.sum()) for places in scored)
    if not count:
        return Verdict(
            version, True, f"no word of the test split is known to version {version} too: nobody can say which is better"
        )
    nats = [
        sum(_nats(model.runtime, [(pair[side], places) for pair, places in zip(pairs, scored, strict=True)]))
        for side, model in enumerate((ours, theirs))
    ]
    mine, other = (math.exp(min(100.0, total / count)) for total in nats)
    return _verdict(version, "perplexity", mine, other, mine > other, f"{count:,} words of {len(pairs):,} test rows that both know")


def _cut(words: Words) -> Words:
    return words._replace(ids=words.ids[:MAX_INPUT_WORDS])


def _prompt(model: Artifact, text: str) -> list[int]:
    return model.tokenizer.encode_prompt(text).ids[:MAX_INPUT_WORDS]


def _known_to_both(ours: Artifact, theirs: Artifact, a: list[int], b: list[int]) -> npt.NDArray[np.bool_]:
    """Which of a text's words (T), but for its first, both models could have predicted."""
    known = np.ones(len(a), bool)
    for words, model in ((a, ours), (b, theirs)):
        known &= np.asarray(words) != model.tokenizer.unknown_id
    known[0] = False
    return known


def _nats(runtime: Runtime, texts: list[tuple[list[int], npt.NDArray[np.bool_]]]) -> Iterator[float]:
    """What the marked words of texts cost, batch by batch; each text's first word is given."""
    for part in _batched(sorted(texts, key=lambda text: len(text[0]))):
        ids, lengths = pad([words for words, _ in part], runtime.manifest.special_ids.padding)
        state: Held = runtime.initial_state(len(part))
        rows = np.arange(len(part))
        for place in range(ids.shape[1] - 1):
            going = np.flatnonzero(lengths[rows] > place + 1)
            if len(going) < len(rows):
                rows, state = rows[going], select(host(state), going.tolist())
            wanted = np.flatnonzero([part[row][1][place + 1] for row in rows.tolist()])
            logits, state = runtime.step(ids[rows, place : place + 1], np.ones(len(rows), np.int32), state, wanted)
            if len(wanted):
                yield float(_surprise(logits, ids[rows[wanted], place + 1]))


def _surprise(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Nats of targets (K) under logits (K, V)."""
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1)
    sums = np.log(np.exp(wide - highest[:, None]).sum(axis=1)) + highest
    return float((sums - wide[np.arange(len(targets)), targets]).sum())


def _batched(texts: Sequence[T]) -> Iterator[Sequence[T]]:
    return (texts[at : at + ROWS_TOGETHER] for at in range(0, len(texts), ROWS_TOGETHER))


def _verdict(version: int, metric: str, ours: float, theirs: float, worse: bool, where: str) -> Verdict:
    figures = f"{metric} {ours:.4g} against {theirs:.4g} on {where}"
    if worse:
        return Verdict(version, True, f"worse than version {version}: {figures}")
    if ours == theirs:
        return Verdict(version, False, f"as good as version {version}: {figures}")
    return Verdict(version, False, f"beats version {version} by {abs(ours - theirs):.3g}: {figures}")
