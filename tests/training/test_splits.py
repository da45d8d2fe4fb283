"""Splits that share no text, whatever repeats in a file, and that are read afresh each time."""

import random
from collections import Counter
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.samples import classify, generate, sentences, write_labelled, write_table, write_text
from tests.training.test_rows import refusal
from training.config import Config, DataConfig
from training.errors import DataError
from training.splits import Splits, load_splits


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
        assert list(splits.train)
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
        assert list(some)
        assert set(some) <= set(all_of_them)


def test_the_fractions_are_about_what_was_asked_for(tmp_path: Path) -> None:
    splits = load_splits(generate(write_text(tmp_path / "data.txt", sentences(2000)), valid_fraction=0.1, test_fraction=0.2))
    assert len(list(splits.test)) == pytest.approx(400, abs=60)
    assert len(list(splits.valid)) == pytest.approx(160, abs=45)  # a tenth of what the test split leaves


def test_nothing_is_held_out_where_nothing_is_asked_for(tmp_path: Path) -> None:
    splits = load_splits(generate(write_text(tmp_path / "data.txt", sentences(50)), valid_fraction=0, test_fraction=0))
    assert [len(list(rows)) for rows in (splits.train, splits.valid, splits.test)] == [50, 0, 0]


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
    assert list(splits.valid)
    assert {row.text for row in (*splits.train, *splits.valid)} == set(texts[:200])


def test_a_label_with_no_row_left_to_train_on_goes_back(tmp_path: Path) -> None:
    for number in range(12):
        rows = [(f"text {index}", "ab"[index % 2]) for index in range(60)]
        path = write_table(tmp_path / "rare.csv", [*rows, (f"only this {number}", "rare")])
        splits = load_splits(classify(path, valid_fraction=0.3, test_fraction=0.3))
        assert "rare" in {row.label for row in splits.train}
        assert "rare" not in {row.label for row in (*splits.valid, *splits.test)}


def test_of_texts_that_all_would_be_held_out_all_are_trained_on(tmp_path: Path) -> None:
    for number in range(12):
        splits = load_splits(
            generate(write_text(tmp_path / "one.txt", [f"text {number}"] * 3), valid_fraction=0.5, test_fraction=0.5)
        )
        assert (len(list(splits.train)), list(splits.valid), list(splits.test)) == (3, [], [])


CONFIGS: dict[str, dict[str, object]] = {
    "held out": {"valid_fraction": 0.2, "test_fraction": 0.2},
    "test apart": {"valid_fraction": 0.2, "test": "other.csv"},
    "valid apart": {"test_fraction": 0.2, "valid": "other.csv"},
    "all apart": {"valid": "other.csv", "test": "other.csv"},
    "train alone": {"valid_fraction": 0, "test_fraction": 0},
}


def some_splits(folder: Path, kind: str) -> Splits:
    train, other = write_labelled(folder / "train.csv", 90), write_labelled(folder / "other.csv", 20)
    return load_splits(
        classify(train, **{key: str(other) if value == other.name else value for key, value in CONFIGS[kind].items()})
    )


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_split_can_be_gone_through_again_and_again(tmp_path: Path, kind: str) -> None:
    splits = some_splits(tmp_path, kind)
    for rows in (splits.train, splits.valid, splits.test):
        assert list(rows) == list(rows)


@pytest.mark.parametrize("kind", CONFIGS)
def test_rows_that_are_read_together_are_those_of_each_split_in_its_order(tmp_path: Path, kind: str) -> None:
    splits = some_splits(tmp_path, kind)
    together = list(splits.together())
    for name, rows in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        assert [row for split, row in together if split == name] == list(rows)


def test_two_splits_of_one_file_can_be_gone_through_side_by_side(tmp_path: Path) -> None:
    splits = some_splits(tmp_path, "held out")
    pairs = list(zip(splits.train, splits.train, strict=True))
    assert all(one == other for one, other in pairs)


# The hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def a_hub_folder(folder: Path, *names: str) -> tuple[Config, dict[str, list[str]]]:
    """A data set of the hub as a folder, which needs no network, and its texts by the name of their split."""
    texts = {name: [f"{name} {index}" for index in range(40 if name == "train" else 5)] for name in names}
    for name, lines in texts.items():
        write_table(folder / "set" / f"{name}.parquet", [(line, "ab"[index % 2]) for index, line in enumerate(lines)])
    return classify(f"hub:{folder / 'set'}"), texts


def texts_of(splits: Splits) -> list[list[str]]:
    return [[row.text for row in rows] for rows in (splits.train, splits.valid, splits.test)]


@pytest.mark.usefixtures("cache")
def test_a_data_set_of_the_hub_brings_its_own_splits(tmp_path: Path) -> None:
    config, texts = a_hub_folder(tmp_path, "train", "validation", "test")
    assert texts_of(load_splits(config)) == [texts["train"], texts["validation"], texts["test"]]


@pytest.mark.usefixtures("cache")
def test_what_a_data_set_of_the_hub_lacks_is_held_out_of_its_training_split(tmp_path: Path) -> None:
    config, texts = a_hub_folder(tmp_path, "train", "test")
    train, valid, test = texts_of(load_splits(config))
    assert test == texts["test"]
    assert valid
    assert sorted(train + valid) == sorted(texts["train"])


@pytest.mark.usefixtures("cache")
def test_a_split_of_the_hub_can_be_named(tmp_path: Path) -> None:
    config, texts = a_hub_folder(tmp_path, "train", "test")
    source = config.data.train
    splits = load_splits(classify(f"{source}:test", test=f"{source}:train", valid_fraction=0))
    assert texts_of(splits) == [texts["test"], [], texts["train"]]


@pytest.mark.usefixtures("cache")
def test_a_data_set_of_the_hub_without_a_training_split_is_refused_with_the_splits_there_are(tmp_path: Path) -> None:
    config, _ = a_hub_folder(tmp_path, "test")
    message = refusal(lambda: load_splits(config))
    assert message == f"{config.data.train}: there is no split 'train'; there are test"
