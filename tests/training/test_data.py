"""Splits that share no text, samples as the task wants them, batches that hold every one once, and faults told in one line."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.samples import sentences, write_labelled, write_table, write_text
from tests.training.test_rows import refusal
from training.config import Config, DataConfig, FitConfig, ModelConfig, TextConfig, load_config
from training.data import IGNORED, Batch, Sample, batches, load_corpus, load_splits
from training.errors import DataError


def classify(train: Path | str, **data: object) -> Config:
    return Config(
        name="t",
        task="classify",
        description="d",
        source="the moon",
        data=DataConfig.model_validate({"train": str(train), **data}),
        fit=FitConfig(batch_size=2),
    )


def generate(train: Path | str, **data: object) -> Config:
    return classify(train, **data).model_copy(update={"task": "generate"})


# Splits


def test_data_that_is_not_shipped_is_asked_for_with_its_source() -> None:
    config = generate("x").model_copy(update={"data": DataConfig()})
    message = refusal(lambda: load_splits(config))
    assert "--data" in message
    assert "the moon" in message


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text("abc", min_size=1, max_size=3), min_size=30, max_size=60),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_a_text_in_two_splits_is_impossible(tmp_path: Path, texts: list[str], valid: float, test: float) -> None:
    """Whatever repeats in the file, equal texts share a split, and every row is in one."""
    path = write_text(tmp_path / "data.txt", texts)
    try:
        splits = load_splits(generate(path, valid_fraction=valid, test_fraction=test))
    except DataError as error:
        assert "no row is left" in str(error)  # noqa: PT017 - all texts may be the same one
        return
    found = [{row.text for row in rows} for rows in (splits.train, splits.valid, splits.test)]
    assert sum(map(len, found)) == len(found[0] | found[1] | found[2])
    assert Counter(row.text for row in (*splits.train, *splits.valid, *splits.test)) == Counter(texts)


def test_a_text_s_split_does_not_depend_on_what_else_is_in_the_file(tmp_path: Path) -> None:
    texts = sentences(200)
    whole = load_splits(generate(write_text(tmp_path / "whole.txt", texts)))
    part = load_splits(generate(write_text(tmp_path / "part.txt", random.Random(1).sample(texts, 100))))
    for some, all_of_them in ((part.train, whole.train), (part.valid, whole.valid), (part.test, whole.test)):
        assert some
        assert set(some) <= set(all_of_them)


def test_the_fractions_are_about_what_was_asked_for(tmp_path: Path) -> None:
    splits = load_splits(generate(write_text(tmp_path / "data.txt", sentences(2000)), valid_fraction=0.1, test_fraction=0.2))
    assert len(splits.test) == pytest.approx(400, abs=60)
    assert len(splits.valid) == pytest.approx(160, abs=45)  # a tenth of what the test split leaves


def test_nothing_is_held_out_where_nothing_is_asked_for(tmp_path: Path) -> None:
    splits = load_splits(generate(write_text(tmp_path / "data.txt", sentences(50)), valid_fraction=0, test_fraction=0))
    assert (len(splits.train), splits.valid, splits.test) == (50, [], [])


def test_a_split_with_a_file_of_its_own_takes_nothing_from_train(tmp_path: Path) -> None:
    train, valid, test = sentences(60)[:50], sentences(60)[50:55], sentences(60)[55:]
    paths = {name: str(write_text(tmp_path / f"{name}.txt", texts)) for name, texts in (("valid", valid), ("test", test))}
    splits = load_splits(generate(write_text(tmp_path / "train.txt", train), **paths))
    assert [[row.text for row in rows] for rows in (splits.train, splits.valid, splits.test)] == [train, valid, test]


def test_a_valid_split_is_held_out_where_only_test_has_a_file(tmp_path: Path) -> None:
    texts = sentences(220)
    test = write_text(tmp_path / "test.csv", ["text,label", *(f"{text},up" for text in texts[200:])])
    splits = load_splits(generate(write_text(tmp_path / "train.txt", texts[:200]), test=str(test), valid_fraction=0.2))
    assert [row.text for row in splits.test] == texts[200:]
    assert splits.valid
    assert {row.text for row in (*splits.train, *splits.valid)} == set(texts[:200])


def test_the_fingerprint_tells_whether_two_runs_saw_the_same_data(tmp_path: Path) -> None:
    texts = sentences(80)
    path = write_text(tmp_path / "data.txt", texts)
    first = load_splits(generate(path)).fingerprint
    assert load_splits(generate(path)).fingerprint == first
    assert load_splits(generate(write_text(tmp_path / "copy.txt", texts))).fingerprint == first
    assert load_splits(generate(write_text(tmp_path / "less.txt", texts[:-1]))).fingerprint != first
    assert load_splits(generate(path, valid_fraction=0.3)).fingerprint != first


def test_a_changed_label_changes_the_fingerprint(tmp_path: Path) -> None:
    rows = [("a", "up"), ("b", "down"), ("c", "up")]
    first = load_splits(classify(write_table(tmp_path / "one.csv", rows)))
    second = load_splits(classify(write_table(tmp_path / "two.csv", [*rows[:2], ("c", "down")])))
    assert first.fingerprint != second.fingerprint


# Corpora


def test_the_vocabulary_and_the_labels_are_those_of_the_training_split_alone(tmp_path: Path) -> None:
    train = write_table(tmp_path / "train.csv", [("a b", "up"), ("b c", "down")])
    test = write_table(tmp_path / "test.csv", [("a stranger", "up")])
    corpus = load_corpus(classify(train, test=str(test), valid_fraction=0))
    assert corpus.labels == ["down", "up"]
    assert corpus.tokenizer.encode("stranger").ids == [corpus.tokenizer.unknown_id]
    assert corpus.test[0].ids == [*corpus.tokenizer.encode("a").ids, corpus.tokenizer.unknown_id]


def test_the_same_label_has_the_same_target_in_every_split(tmp_path: Path) -> None:
    paths = {name: write_labelled(tmp_path / f"{name}.csv", 6, labels=("c", "a", "b")) for name in ("train", "valid", "test")}
    corpus = load_corpus(classify(paths["train"], valid=str(paths["valid"]), test=str(paths["test"])))
    assert corpus.labels == ["a", "b", "c"]
    for samples in (corpus.train, corpus.valid, corpus.test):
        assert [sample.target for sample in samples] == [2, 0, 1, 2, 0, 1]


def test_labels_are_called_what_the_preset_calls_them(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 20, labels=("0", "1"))
    assert load_corpus(classify(path, labels={"0": "bad", "1": "good"})).labels == ["bad", "good"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_label_that_no_training_row_has_is_refused_with_its_split(tmp_path: Path, split: str) -> None:
    train = write_labelled(tmp_path / "train.csv", 10)
    other = write_table(tmp_path / "other.csv", [("a", "up"), ("b", "sideways"), ("c", "sideways")])
    message = refusal(lambda: load_corpus(classify(train, **{"valid_fraction": 0, "test_fraction": 0, split: str(other)})))
    assert message == f"{split}: 2 rows have the label 'sideways', which no training row has"


def test_one_label_alone_is_refused_with_its_name(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 10, labels=("up",))
    message = refusal(lambda: load_corpus(classify(path)))
    assert message.startswith(f"{path}: ")
    assert "'up'" in message


def test_one_sigmoid_unit_for_three_labels_is_refused_by_key(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 12, labels=("a", "b", "c"))
    config = classify(path).model_copy(update={"model": ModelConfig(head="sigmoid")})
    assert "model.head=sigmoid" in refusal(lambda: load_corpus(config))


def test_fewer_rows_than_a_batch_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", sentences(5))
    config = generate(path, valid_fraction=0, test_fraction=0).model_copy(update={"fit": FitConfig(batch_size=6)})
    message = refusal(lambda: load_corpus(config))
    assert "5 usable rows" in message
    assert "batch of 6" in message
    assert len(load_corpus(config.model_copy(update={"fit": FitConfig(batch_size=5)})).train) == 5


def test_a_text_is_cut_at_the_longest_that_training_looks_at(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 20)
    config = classify(path).model_copy(update={"text": TextConfig(max_length=4)})
    corpus = load_corpus(config)
    assert corpus.longest == 4
    assert corpus.train[0].ids == corpus.tokenizer.encode(corpus.splits.train[0].text).ids[:4]


def test_a_sentence_begins_and_ends_with_the_end_of_one(tmp_path: Path) -> None:
    corpus = load_corpus(generate(write_text(tmp_path / "data.txt", ["a b", "c"]), valid_fraction=0, test_fraction=0))
    end, words = corpus.tokenizer.end_id, corpus.tokenizer.encode
    assert [sample.ids for sample in corpus.train] == [[end, *words("a b").ids, end], [end, *words("c").ids, end]]
    assert corpus.predictions == 3 + 2


def test_a_sentence_that_is_cut_short_does_not_teach_that_it_ends_there(tmp_path: Path) -> None:
    config = generate(write_text(tmp_path / "data.txt", ["a b c d e f", "g"]), valid_fraction=0, test_fraction=0)
    corpus = load_corpus(config.model_copy(update={"text": TextConfig(max_length=4)}))
    assert corpus.train[0].ids[-1] != corpus.tokenizer.end_id
    assert corpus.train[1].ids[-1] == corpus.tokenizer.end_id


def test_without_sentence_ends_every_prefix_of_a_sentence_is_one_prediction(tmp_path: Path) -> None:
    config = generate(write_text(tmp_path / "data.txt", ["a b c", "d e", "alone"]), valid_fraction=0, test_fraction=0)
    corpus = load_corpus(config.model_copy(update={"text": TextConfig(sentence_end=False)}))
    assert corpus.tokenizer.end_id is None
    assert [len(sample.ids) for sample in corpus.train] == [3, 2]  # a lone word has no next one
    assert corpus.predictions == 2 + 1


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_row_of_nothing_but_dropped_marks_is_not_trained_on(tmp_path: Path, task: str) -> None:
    path = write_table(tmp_path / "data.csv", [("a b.", "up"), ("?!", "up"), ("c d", "down")])
    config = classify(path, valid_fraction=0, test_fraction=0).model_copy(
        update={"task": task, "text": TextConfig(punctuation="drop")}
    )
    assert len(load_corpus(config).train) == 2


# Batches

samples = st.lists(
    st.tuples(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 3)).map(lambda pair: Sample(*pair)),
    min_size=1,
    max_size=80,
)
seeds = st.none() | st.integers(0, 2**31)


def rows_of(batch: Batch, generates: bool) -> list[Sample]:
    """The samples that a batch was made of, as far as its lengths reach."""
    found = []
    for ids, length, target in zip(batch.ids.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True):
        found.append(Sample([*ids[:length], target[length - 1]], 0) if generates else Sample(ids[:length], target))
    return found


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds, st.booleans())
def test_every_sample_is_in_exactly_one_batch(rows: list[Sample], size: int, seed: int | None, generates: bool) -> None:
    found = [sample for batch in batches(rows, size, 0, generates, seed) for sample in rows_of(batch, generates)]
    expected = [Sample(sample.ids, 0 if generates else sample.target) for sample in rows]
    assert Counter(map(repr, found)) == Counter(map(repr, expected))


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds)
def test_a_batch_is_never_larger_than_asked_for_and_there_are_no_more_of_them_than_it_takes(
    rows: list[Sample], size: int, seed: int | None
) -> None:
    sizes = [len(batch.ids) for batch in batches(rows, size, 0, False, seed)]
    assert max(sizes) <= size
    assert len(sizes) == -(-len(rows) // size)


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds, st.booleans())
def test_padding_stands_after_the_words_and_is_no_wider_than_the_longest(
    rows: list[Sample], size: int, seed: int | None, generates: bool
) -> None:
    padding = 99
    for batch in batches(rows, size, padding, generates, seed):
        after = torch.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
        assert torch.equal(batch.ids == padding, after)
        assert batch.ids.shape[1] == batch.lengths.max()


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds)
def test_padding_is_never_a_target(rows: list[Sample], size: int, seed: int | None) -> None:
    counted = 0
    for batch in batches(rows, size, 0, True, seed):
        after = torch.arange(batch.targets.shape[1]) >= batch.lengths[:, None]
        assert torch.equal(batch.targets == IGNORED, after)
        counted += int((batch.targets != IGNORED).sum())
    assert counted == sum(len(sample.ids) - 1 for sample in rows)


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20))
def test_a_target_is_the_word_that_follows(rows: list[Sample], size: int) -> None:
    for batch in batches(rows, size, 0, True):
        for ids, targets, length in zip(batch.ids.tolist(), batch.targets.tolist(), batch.lengths.tolist(), strict=True):
            assert targets[: length - 1] == ids[1:length]


def test_a_seed_is_an_order_another_seed_another_one_and_none_is_by_length() -> None:
    chance = random.Random(3)
    rows = [Sample([1] * chance.randint(2, 30), index) for index in range(200)]

    def order(seed: int | None) -> list[int]:
        return [target for batch in batches(rows, 8, 0, False, seed) for target in batch.targets.tolist()]

    assert order(1) == order(1)
    assert order(1) != order(2)
    lengths = [len(rows[index].ids) for index in order(None)]
    assert lengths == sorted(lengths)


def test_texts_of_one_batch_are_alike_in_length() -> None:
    """Little padding: in random order half of these ids would be padding, in order of length nearly none."""
    chance = random.Random(3)
    rows = [Sample([1] * chance.randint(2, 40), index) for index in range(512)]
    padded = sum(int((batch.ids == 0).sum()) for batch in batches(rows, 16, 0, False, seed=5))
    words = sum(len(row.ids) for row in rows)
    assert padded / (padded + words) < 0.05


def test_a_shuffled_order_does_not_begin_with_the_shortest() -> None:
    rows = [Sample([1] * (2 + index // 16), index) for index in range(256)]
    lengths = [int(batch.lengths.max()) for batch in batches(rows, 16, 0, False, seed=1)]
    assert lengths != sorted(lengths)


def test_a_presets_names_for_labels_are_only_for_its_own_labels(tmp_path: Path) -> None:
    def names(labels: list[str]) -> list[str]:
        rows = "".join(f"text {number},{labels[number % len(labels)]}\n" for number in range(40))
        (tmp_path / "reviews.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
        overrides = ["text_column=text", "label_column=label", "fit.batch_size=4"]
        return load_corpus(load_config("korean-sentiment", overrides, str(tmp_path / "reviews.csv"))).labels

    assert names(["0", "1"]) == ["negative", "positive"]
    assert names(["1", "2", "3"]) == ["1", "2", "3"]


def test_a_label_of_one_row_is_trained_on_and_never_held_out(tmp_path: Path) -> None:
    for number in range(12):
        rows = "".join(f"text {index},{'ab'[index % 2]}\n" for index in range(60))
        (tmp_path / "rare.csv").write_text(f"text,label\n{rows}only this {number},rare\n", encoding="utf-8")
        corpus = load_corpus(
            load_config("starter-sentiment", ["text_column=text", "label_column=label"], str(tmp_path / "rare.csv"))
        )
        assert "rare" in corpus.labels
