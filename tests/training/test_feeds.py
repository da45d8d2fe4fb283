"""Every stage gets every text once an epoch, in an order that the seed and the epoch decide, from any batch on."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from tests.training.samples import sentences, write_labelled, write_text
from training.batches import Batch
from training.config import Config
from training.corpus import Corpus, load_corpus
from training.feeds import EVALUATION_LANES, evaluation_batches, fitting_feed, pretraining_feed, self_training_feed
from training.loop import Feed

FITTING = {"batch_size": 7}
MakeFeed = Callable[[Config, Corpus], Feed]


def generating(folder: Path, seed: int = 1, valid: int = 20, **fit: object) -> tuple[Config, Corpus]:
    train, held = write_text(folder / "train.txt", sentences(60)), write_text(folder / "valid.txt", sentences(valid, seed=8))
    data = {"train": str(train), "valid": str(held), "test_fraction": 0}
    return _load(folder, {"task": "generate", "seed": seed, "data": data, "fit": {**FITTING, "window": 5, **fit}})


def classifying(folder: Path, seed: int = 1, unlabelled: int = 50, valid_fraction: float = 0.2) -> tuple[Config, Corpus]:
    data: dict[str, object] = {"train": str(write_labelled(folder / "train.csv")), "valid_fraction": valid_fraction}
    if unlabelled:
        data["unlabelled"] = str(write_text(folder / "unlabelled.txt", sentences(unlabelled, seed=9)))
    values = {"data": {**data, "test_fraction": 0}, "pretrain": {"batch_size": 6}, "selftrain": {"batch_size": 6}, "fit": FITTING}
    return _load(folder, {"task": "classify", "seed": seed, "model": {"bidirectional": True, "ngrams": 3, "buckets": 50}, **values})


def _load(folder: Path, values: dict[str, object]) -> tuple[Config, Corpus]:
    config = Config.model_validate({"name": "toy", "description": "a toy", "source": "made up", **values})
    (folder / "encoded").mkdir(exist_ok=True)
    return config, load_corpus(config, folder / "encoded")


def texts_in(batches: Iterable[Batch], corpus: Corpus) -> Counter[tuple[object, ...]]:
    """Each row's words, an unknown one as its runs of characters, and its target: what does not depend on its batch."""
    known, found = corpus.tokenizer.vocabulary_size, Counter[tuple[object, ...]]()
    for batch in batches:
        for ids, length, target in zip(batch.ids.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True):
            grams = [] if batch.grams is None else batch.grams.tolist()
            aim = target if isinstance(target, int) else tuple(target[:length])
            found[(*(word if word < known else tuple(grams[word - known]) for word in ids[:length]), aim)] += 1
    return found


def same(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return bool(pairs) and all(
        torch.equal(one, other)
        for batch, again in pairs
        for one, other in zip(batch, again, strict=True)
        if one is not None and other is not None
    )


def every_feed(folder: Path) -> list[Feed]:
    sentence, stream, labelled = (
        generating(folder / "a"),
        generating(folder / "b", mode="stream"),
        classifying(folder / "c"),
    )
    makes: list[tuple[MakeFeed, tuple[Config, Corpus]]] = [
        (fitting_feed, sentence),
        (fitting_feed, stream),
        (fitting_feed, labelled),
        (pretraining_feed, labelled),
        (self_training_feed, labelled),
    ]
    return [make(*given) for make, given in makes]


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_from_any_batch_on(tmp_path: Path) -> None:
    for feed in every_feed(tmp_path):
        whole = list(feed.train(3, 0))
        assert len(whole) == feed.batches_per_epoch > 3
        for start in range(len(whole)):
            assert same(feed.train(3, start), whole[start:])
        assert list(feed.train(3, len(whole))) == []


def test_another_epoch_and_another_seed_have_another_order(tmp_path: Path) -> None:
    for feed in every_feed(tmp_path):
        assert not _begin_alike(feed.train(1, 0), feed.train(2, 0))
    one, other = (fitting_feed(*generating(tmp_path / str(seed), seed)) for seed in (1, 2))
    assert not _begin_alike(one.train(1, 0), other.train(1, 0))


def _begin_alike(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    one, other = next(iter(first)), next(iter(second))
    return one.ids.shape == other.ids.shape and torch.equal(one.ids, other.ids)


@pytest.mark.parametrize("load", [generating, classifying])
def test_every_text_of_the_training_split_comes_once_an_epoch(
    tmp_path: Path, load: Callable[[Path], tuple[Config, Corpus]]
) -> None:
    config, corpus = load(tmp_path)
    feed = fitting_feed(config, corpus)
    expected = texts_in(evaluation_batches(config, corpus, corpus.train), corpus)
    assert sum(expected.values()) == len(corpus.train)
    assert all(texts_in(feed.train(epoch, 0), corpus) == expected for epoch in (1, 2))


def test_every_text_of_the_valid_split_is_judged_once_and_in_the_same_order_each_time(tmp_path: Path) -> None:
    config, corpus = classifying(tmp_path)
    feed = fitting_feed(config, corpus)
    assert feed.valid is not None
    assert same(feed.valid(), feed.valid())
    assert sum(len(batch.ids) for batch in feed.valid()) == len(corpus.valid) > 0


def test_without_a_valid_split_nothing_judges(tmp_path: Path) -> None:
    assert fitting_feed(*classifying(tmp_path, valid_fraction=0)).valid is None


# Streams


def test_a_stream_carries_its_state_and_sentences_do_not(tmp_path: Path) -> None:
    assert [feed.carries_state for feed in every_feed(tmp_path)] == [False, True, False, False, False]


def test_a_stream_is_read_in_as_many_lanes_as_a_batch_has_rows_window_by_window(tmp_path: Path) -> None:
    feed = fitting_feed(*generating(tmp_path, mode="stream"))
    shapes = [tuple(batch.ids.shape) for batch in feed.train(1, 0)]
    assert set(shapes[:-1]) == {(7, 5)}
    assert 1 <= shapes[-1][1] <= 5
    assert feed.valid is not None
    assert {len(batch.ids) for batch in feed.valid()} == {EVALUATION_LANES}


def test_a_text_too_short_for_all_lanes_is_judged_in_fewer(tmp_path: Path) -> None:
    config, corpus = generating(tmp_path, valid=3, mode="stream")
    feed = fitting_feed(config, corpus)
    assert feed.valid is not None
    assert corpus.valid.words < EVALUATION_LANES * (config.fit.window + 1)
    rows = {len(batch.ids) for batch in feed.valid()}
    assert len(rows) == 1
    assert 1 <= rows.pop() < EVALUATION_LANES
    assert sum(int(batch.lengths.sum()) for batch in feed.valid()) > corpus.valid.words // 2


# Texts without labels


def test_pre_training_reads_every_text_once_with_and_without_labels(tmp_path: Path) -> None:
    config, corpus = classifying(tmp_path)
    assert corpus.unlabelled is not None
    expected = Counter[tuple[object, ...]]()
    for samples in (corpus.train, corpus.unlabelled):
        expected.update(texts_in(evaluation_batches(config, corpus, samples), corpus))
    found = texts_in(pretraining_feed(config, corpus).train(1, 0), corpus)
    assert found == expected
    assert sum(found.values()) == len(corpus.train) + len(corpus.unlabelled)


def test_pre_training_without_unlabelled_texts_reads_those_of_the_training_split(tmp_path: Path) -> None:
    config, corpus = classifying(tmp_path, unlabelled=0)
    feed = pretraining_feed(config, corpus)
    assert texts_in(feed.train(1, 0), corpus) == texts_in(evaluation_batches(config, corpus, corpus.train), corpus)
    assert feed.valid is None


def test_in_self_training_a_text_without_a_label_is_told_by_its_row(tmp_path: Path) -> None:
    config, corpus = classifying(tmp_path)
    assert corpus.unlabelled is not None
    feed, labels = self_training_feed(config, corpus), len(corpus.labels)
    targets = torch.cat([batch.targets for batch in feed.train(1, 0)]).tolist()
    rows = [target - labels for target in targets if target >= labels]
    assert sorted(rows) == list(range(len(corpus.unlabelled)))
    assert len(targets) - len(rows) == len(corpus.train)
    for batch in feed.train(1, 0):
        for ids, length, target in zip(batch.ids.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True):
            if target >= labels and batch.grams is not None and max(ids) < corpus.tokenizer.vocabulary_size:
                assert ids[:length] == corpus.unlabelled.ids(target - labels).tolist()


def test_self_training_is_judged_as_fitting_is(tmp_path: Path) -> None:
    config, corpus = classifying(tmp_path)
    first, second = self_training_feed(config, corpus).valid, fitting_feed(config, corpus).valid
    assert first is not None
    assert second is not None
    assert same(first(), second())
