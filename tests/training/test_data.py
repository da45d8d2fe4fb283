"""The same rows from every format, splits that share no text, batches that hold every sample once, and faults told in one line."""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.samples import TABLES, sentences, write_labelled, write_table, write_text
from training.config import Config, DataConfig, FitConfig, ModelConfig, TextConfig, load_config
from training.data import IGNORED, Batch, Row, Sample, batches, load_corpus, load_splits, read_rows
from training.errors import DataError

# A reader that guesses types would change each of these.
TRICKY = [
    ("NA", "01"),
    ("null", "1"),
    ("None", "1.0"),
    ("nan", "true"),
    ("007", "01"),
    ("1e5", "no"),
    ("2024-01-01", "2024-01-01"),
    ("it's a 'quote'", "NA"),
    ('say "hi"', "null"),
    ('"quoted whole"', "-"),
    ("a, b; c", "0"),
    ("# not a comment", "-0"),
    ("back\\slash \\n", "1_000"),
    ("오늘 날씨가 좋다", "긍정"),
]


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


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as error:
        call()
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Every format gives the same rows


@pytest.mark.parametrize("suffix", TABLES)
def test_every_table_gives_its_rows_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", TRICKY)
    assert read_rows(path, DataConfig(), labelled=True) == [Row(*row) for row in TRICKY]


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_every_format_gives_the_same_sentences(tmp_path: Path, suffix: str) -> None:
    path, texts = tmp_path / f"data{suffix}", [text for text, _ in TRICKY]
    if suffix == ".txt":
        write_text(path, texts)
    else:
        write_table(path, TRICKY)
    assert read_rows(path, DataConfig(), labelled=False) == [Row(text, None) for text in texts]


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(str.strip)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_any_text_and_label_are_the_same_in_every_format_but_for_the_space_around_them(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    expected = [Row(text.strip(), label.strip()) for text, label in rows]
    for suffix in TABLES:
        path = write_table(tmp_path / f"data{suffix}", rows)
        assert read_rows(path, DataConfig(), labelled=True) == expected, suffix


@pytest.mark.parametrize("suffix", TABLES)
def test_the_columns_are_found_by_the_names_they_are_given(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("3", "good"), ("1", "bad")], columns=("stars given", "리뷰"))
    data = DataConfig(text_column="리뷰", label_column="stars given")
    assert read_rows(path, data, labelled=True) == [Row("good", "3"), Row("bad", "1")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_without_a_header_has_the_columns_that_are_named_for_it(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("01", "first"), ("02", "second")], columns=("00", "before"))
    data = DataConfig(columns=["label", "text"])
    assert read_rows(path, data, labelled=True) == [Row("before", "00"), Row("first", "01"), Row("second", "02")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_columns_that_nobody_asked_for_are_passed_over(tmp_path: Path, suffix: str) -> None:
    separator = "," if suffix == ".csv" else "\t"
    lines = [
        separator.join(cells) for cells in (("id", "text", "more", "label"), ("1", "good", "x", "up"), ("2", "bad", "", "down"))
    ]
    path = write_text(tmp_path / f"data{suffix}", lines)
    assert read_rows(path, DataConfig(), labelled=True) == [Row("good", "up"), Row("bad", "down")]


def test_a_csv_file_s_quotes_hold_commas_quotes_and_new_lines_together(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.csv", ['"text","label"', '"one, ""two""\nthree",up', "four,down"])
    assert read_rows(path, DataConfig(), labelled=True) == [Row('one, "two"\nthree', "up"), Row("four", "down")]


def test_a_tsv_file_s_quotes_are_part_of_the_text_even_where_they_never_close(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ["text\tlabel", '"open\tup', 'said "so"\tdown', '"whole"\tup'])
    assert [row.text for row in read_rows(path, DataConfig(), labelled=True)] == ['"open', 'said "so"', '"whole"']


def test_a_jsonl_label_that_is_a_number_is_its_digits(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "a", "label": 0}', '{"text": "b", "label": 1}'])
    assert read_rows(path, DataConfig(), labelled=True) == [Row("a", "0"), Row("b", "1")]


def test_a_jsonl_label_is_not_changed_by_another_row_s(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "a", "label": "01"}', '{"text": "b", "label": 1}'])
    assert read_rows(path, DataConfig(), labelled=True) == [Row("a", "01"), Row("b", "1")]


def test_jsonl_texts_that_are_dates_stay_as_they_are_written(tmp_path: Path) -> None:
    path = write_table(tmp_path / "data.jsonl", [("2024-01-01", "1999-12-31"), ("2024-01-02", "2000-01-01")])
    assert read_rows(path, DataConfig(), labelled=True) == [Row("2024-01-01", "1999-12-31"), Row("2024-01-02", "2000-01-01")]


def test_a_jsonl_file_may_hold_any_other_values_beside_the_columns(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "up", "more": {"deep": [1]}}, {"text": "b", "label": "down", "more": {"deep": [2]}}]
    path = write_text(tmp_path / "data.jsonl", map(json.dumps, rows))
    assert read_rows(path, DataConfig(), labelled=True) == [Row("a", "up"), Row("b", "down")]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    rows = [("first", "up"), ("second", "down")]
    plain = write_text(path, ["first", "second"]) if suffix == ".txt" else write_table(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert [row.text for row in read_rows(path, DataConfig(), labelled=False)] == ["first", "second"]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_may_end_as_windows_or_unix_ends_them_and_the_last_may_not_end(
    tmp_path: Path, suffix: str, ending: bytes, last: bool
) -> None:
    path = tmp_path / f"data{suffix}"
    rows = [("first", "up"), ("second", "down")]
    plain = write_text(path, ["first", "second"]) if suffix == ".txt" else write_table(path, rows)
    lines = plain.read_bytes().splitlines()
    path.write_bytes(ending.join(lines) + (ending if last else b""))
    labelled = suffix != ".txt"
    assert read_rows(path, DataConfig(), labelled) == [Row(text, label if labelled else None) for text, label in rows]


@pytest.mark.parametrize("suffix", TABLES)
def test_rows_without_text_are_left_out(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up"), ("", "up"), ("  ", "down"), ("b", "down")])
    assert read_rows(path, DataConfig(), labelled=True) == [Row("a", "up"), Row("b", "down")]


def test_blank_lines_of_a_txt_file_are_left_out(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["", "a b", "   ", "\t", "c", ""])
    assert [row.text for row in read_rows(path, DataConfig(), labelled=False)] == ["a b", "c"]


@pytest.mark.parametrize("folder", ["with space", ".hidden", "a*b", "한글", "__pycache__"])
def test_a_file_is_read_wherever_it_lies(tmp_path: Path, folder: str) -> None:
    path = write_labelled(tmp_path / folder / "data.csv", count=3)
    assert len(read_rows(path, DataConfig(), labelled=True)) == 3


def test_a_file_whose_name_has_wildcards_is_read_itself_and_not_what_they_would_find(tmp_path: Path) -> None:
    write_table(tmp_path / "a1.csv", [("another file", "up")])
    path = write_table(tmp_path / "a[1].csv", [("this file", "up")])
    assert read_rows(path, DataConfig(), labelled=True) == [Row("this file", "up")]


def test_reading_leaves_nothing_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_labelled(tmp_path / "data.csv", count=3)
    read_rows(path, DataConfig(), labelled=True)
    assert list(tmp_path.iterdir()) == [path]


# Files that cannot be read


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=True)) == f"{path}: there is no such file"


@pytest.mark.parametrize("name", ["data.xlsx", "data.json", "data", "data.csv.gz", ".csv"])
def test_an_unknown_extension_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    path = write_text(tmp_path / name, ["text,label", "a,b"])
    message = refusal(lambda: read_rows(path, DataConfig(), labelled=False))
    assert message.startswith(f"{path}: ")
    assert all(suffix in message for suffix in (".txt", *TABLES))


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_an_empty_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.touch()
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=False)) == f"{path}: the file is empty"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("blank.txt", "\n \n\t\n"),
        ("blank.csv", "text,label\n"),
        ("spaces.csv", "text,label\n \n\t\n"),
        ("cells.csv", "text,label\n,up\n ,down\n"),
        ("blank.tsv", "text\tlabel\n\tup\n"),
        ("blank.jsonl", "\n\n"),
        ("null.jsonl", '{"text": null, "label": "up"}\n{"text": " ", "label": "up"}\n'),
    ],
)
def test_a_file_of_blank_lines_alone_is_refused_and_told_why(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=False)) == f"{path}: no row has any text"


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize(("columns", "missing"), [(("body", "label"), "text"), (("text", "stars"), "label")])
def test_a_file_without_the_column_is_refused_with_the_columns_there_are(
    tmp_path: Path, suffix: str, columns: tuple[str, str], missing: str
) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up")], columns=columns)
    message = refusal(lambda: read_rows(path, DataConfig(), labelled=True))
    assert f"{path}: there is no column {missing!r}; there are {', '.join(columns)}" in message


def test_a_tsv_file_with_quoted_column_names_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ['"text"\t"label"', "a\tup"])
    assert 'there are "text", "label"' in refusal(lambda: read_rows(path, DataConfig(), labelled=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("more-cells.csv", b"text,label\na,up\nb,down,what\n"),
        ("open-quote.csv", b'text,label\n"a,up\nb,down\n'),
        ("korean-windows.csv", "text,label\n가나다,긍정\n".encode("cp949")),
        ("korean-windows.txt", "가나다\n".encode("cp949")),
        ("half-an-object.jsonl", b'{"text": "a", "label": "up"}\n{"text": "b"\n'),
        ("no-object.jsonl", b"text\n"),
        ("list.jsonl", b"[1, 2]\n"),
        ("no.parquet", b"PAR1 not really"),
        ("utf-16.tsv", "text\tlabel\na\tup\n".encode("utf-16")),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=path.suffix != ".txt")).startswith(f"{path}: ")


def test_a_csv_file_that_is_one_endless_cell_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.csv", ['"' + "a" * 200_000])
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=True)).startswith(f"{path}: ")


def test_a_tsv_file_without_a_header_may_begin_with_an_open_quote(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ['"open\tup', *("and much more text\tdown" for _ in range(8_000))])
    rows = read_rows(path, DataConfig(columns=["text", "label"]), labelled=True)
    assert (rows[0], len(rows)) == (Row('"open', "up"), 8_001)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", count=3)
    path.chmod(0)
    assert refusal(lambda: read_rows(path, DataConfig(), labelled=False)).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        (["up,good,17", "down,bad,18"], ["label", "text"]),
        (["label,text", "up,good,17", "down,bad,18"], None),
        (["label,text", "up,good,", "down,bad,"], None),
    ],
)
def test_more_cells_than_columns_never_shift_the_columns(tmp_path: Path, lines: list[str], columns: list[str] | None) -> None:
    """pandas takes what is too many for an index, and then every text is another column's."""
    path = write_text(tmp_path / "data.csv", lines)
    try:
        rows = read_rows(path, DataConfig(columns=columns), labelled=True)
    except DataError:
        return  # to be refused is right as well
    assert rows == [Row("good", "up"), Row("bad", "down")]


def test_a_txt_file_for_classification_is_refused_and_told_what_to_give(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a b"])
    message = refusal(lambda: read_rows(path, DataConfig(), labelled=True))
    assert "has no labels" in message
    assert all(suffix in message for suffix in TABLES)


@pytest.mark.parametrize("suffix", TABLES)
def test_a_row_with_text_but_no_label_is_refused_with_the_column_s_name(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up"), ("b", " ")], columns=("text", "stars"))
    message = refusal(lambda: read_rows(path, DataConfig(label_column="stars"), labelled=True))
    assert message == f"{path}: some rows have no stars"


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
