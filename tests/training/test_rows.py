"""The same rows from every format, and files that cannot be read told in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.samples import TABLES, write_labelled, write_table, write_text
from training import hub
from training.config import DataConfig
from training.errors import DataError
from training.rows import MendedRow, Row, read_rows

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


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as error:
        call()
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def rows_in(path: Path, data: DataConfig, labelled: bool) -> list[Row]:
    return list(read_rows(str(path), data, labelled))


# Every format gives the same rows


@pytest.mark.parametrize("suffix", TABLES)
def test_every_table_gives_its_rows_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", TRICKY)
    assert rows_in(path, DataConfig(), labelled=True) == [Row(*row) for row in TRICKY]


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_every_format_gives_the_same_sentences(tmp_path: Path, suffix: str) -> None:
    path, texts = tmp_path / f"data{suffix}", [text for text, _ in TRICKY]
    if suffix == ".txt":
        write_text(path, texts)
    else:
        write_table(path, TRICKY)
    assert rows_in(path, DataConfig(), labelled=False) == [Row(text, None) for text in texts]


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
        assert rows_in(path, DataConfig(), labelled=True) == expected, suffix


@pytest.mark.parametrize("suffix", TABLES)
def test_the_columns_are_found_by_the_names_they_are_given(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("3", "good"), ("1", "bad")], columns=("stars given", "리뷰"))
    data = DataConfig(text_column="리뷰", label_column="stars given")
    assert rows_in(path, data, labelled=True) == [Row("good", "3"), Row("bad", "1")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_without_a_header_has_the_columns_that_are_named_for_it(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("01", "first"), ("02", "second")], columns=("00", "before"))
    data = DataConfig(columns=["label", "text"])
    assert rows_in(path, data, labelled=True) == [Row("before", "00"), Row("first", "01"), Row("second", "02")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_columns_that_nobody_asked_for_are_passed_over(tmp_path: Path, suffix: str) -> None:
    separator = "," if suffix == ".csv" else "\t"
    lines = [
        separator.join(cells) for cells in (("id", "text", "more", "label"), ("1", "good", "x", "up"), ("2", "bad", "", "down"))
    ]
    path = write_text(tmp_path / f"data{suffix}", lines)
    assert rows_in(path, DataConfig(), labelled=True) == [Row("good", "up"), Row("bad", "down")]


def test_a_csv_file_s_quotes_hold_commas_quotes_and_new_lines_together(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.csv", ['"text","label"', '"one, ""two""\nthree",up', "four,down"])
    assert rows_in(path, DataConfig(), labelled=True) == [Row('one, "two"\nthree', "up"), Row("four", "down")]


def test_a_tsv_file_s_quotes_are_part_of_the_text_even_where_they_never_close(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ["text\tlabel", '"open\tup', 'said "so"\tdown', '"whole"\tup'])
    assert [row.text for row in rows_in(path, DataConfig(), labelled=True)] == ['"open', 'said "so"', '"whole"']


def test_a_jsonl_label_that_is_a_number_is_its_digits(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "a", "label": 0}', '{"text": "b", "label": 1}'])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("a", "0"), Row("b", "1")]


def test_a_jsonl_label_is_not_changed_by_another_row_s(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "a", "label": "01"}', '{"text": "b", "label": 1}'])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("a", "01"), Row("b", "1")]


def test_jsonl_texts_that_are_dates_stay_as_they_are_written(tmp_path: Path) -> None:
    path = write_table(tmp_path / "data.jsonl", [("2024-01-01", "1999-12-31"), ("2024-01-02", "2000-01-01")])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("2024-01-01", "1999-12-31"), Row("2024-01-02", "2000-01-01")]


def test_a_jsonl_file_may_hold_any_other_values_beside_the_columns(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "up", "more": {"deep": [1]}}, {"text": "b", "label": "down", "more": {"deep": [2]}}]
    path = write_text(tmp_path / "data.jsonl", map(json.dumps, rows))
    assert rows_in(path, DataConfig(), labelled=True) == [Row("a", "up"), Row("b", "down")]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    rows = [("first", "up"), ("second", "down")]
    plain = write_text(path, ["first", "second"]) if suffix == ".txt" else write_table(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert [row.text for row in rows_in(path, DataConfig(), labelled=False)] == ["first", "second"]


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
    assert rows_in(path, DataConfig(), labelled) == [Row(text, label if labelled else None) for text, label in rows]


@pytest.mark.parametrize("suffix", TABLES)
def test_rows_without_text_are_left_out(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up"), ("", "up"), ("  ", "down"), ("b", "down")])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("a", "up"), Row("b", "down")]


def test_blank_lines_of_a_txt_file_are_left_out(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["", "a b", "   ", "\t", "c", ""])
    assert [row.text for row in rows_in(path, DataConfig(), labelled=False)] == ["a b", "c"]


@pytest.mark.parametrize("folder", ["with space", ".hidden", "a*b", "한글", "__pycache__"])
def test_a_file_is_read_wherever_it_lies(tmp_path: Path, folder: str) -> None:
    path = write_labelled(tmp_path / folder / "data.csv", count=3)
    assert len(rows_in(path, DataConfig(), labelled=True)) == 3


def test_a_file_whose_name_has_wildcards_is_read_itself_and_not_what_they_would_find(tmp_path: Path) -> None:
    write_table(tmp_path / "a1.csv", [("another file", "up")])
    path = write_table(tmp_path / "a[1].csv", [("this file", "up")])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("this file", "up")]


def test_reading_leaves_nothing_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_labelled(tmp_path / "data.csv", count=3)
    rows_in(path, DataConfig(), labelled=True)
    assert list(tmp_path.iterdir()) == [path]


# Files that cannot be read


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=True)) == f"{path}: there is no such file"


@pytest.mark.parametrize("name", ["data.xlsx", "data.json", "data", "data.csv.gz", ".csv"])
def test_an_unknown_extension_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    path = write_text(tmp_path / name, ["text,label", "a,b"])
    message = refusal(lambda: rows_in(path, DataConfig(), labelled=False))
    assert message.startswith(f"{path}: ")
    assert all(suffix in message for suffix in (".txt", *TABLES))


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_an_empty_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.touch()
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)) == f"{path}: the file is empty"


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
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)) == f"{path}: no row has any text"


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize(("columns", "missing"), [(("body", "label"), "text"), (("text", "stars"), "label")])
def test_a_file_without_the_column_is_refused_with_the_columns_there_are(
    tmp_path: Path, suffix: str, columns: tuple[str, str], missing: str
) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up")], columns=columns)
    message = refusal(lambda: rows_in(path, DataConfig(), labelled=True))
    assert f"{path}: there is no column {missing!r}; there are {', '.join(columns)}" in message


def test_a_tsv_file_with_quoted_column_names_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ['"text"\t"label"', "a\tup"])
    assert 'there are "text", "label"' in refusal(lambda: rows_in(path, DataConfig(), labelled=True))


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
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=path.suffix != ".txt")).startswith(f"{path}: ")


def test_a_csv_file_that_is_one_endless_cell_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.csv", ['"' + "a" * 200_000])
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=True)).startswith(f"{path}: ")


def test_a_tsv_file_without_a_header_may_begin_with_an_open_quote(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.tsv", ['"open\tup', *("and much more text\tdown" for _ in range(8_000))])
    rows = rows_in(path, DataConfig(columns=["text", "label"]), labelled=True)
    assert (rows[0], len(rows)) == (Row('"open', "up"), 8_001)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", count=3)
    path.chmod(0)
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)).startswith(f"{path}: ")


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
        rows = rows_in(path, DataConfig(columns=columns), labelled=True)
    except DataError:
        return  # to be refused is right as well
    assert rows == [Row("good", "up"), Row("bad", "down")]


def test_a_txt_file_for_classification_is_refused_and_told_what_to_give(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a b"])
    message = refusal(lambda: rows_in(path, DataConfig(), labelled=True))
    assert "has no labels" in message
    assert all(suffix in message for suffix in TABLES)


@pytest.mark.parametrize("suffix", TABLES)
def test_a_row_with_text_but_no_label_is_refused_with_the_column_s_name(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [("a", "up"), ("b", " ")], columns=("text", "stars"))
    message = refusal(lambda: rows_in(path, DataConfig(label_column="stars"), labelled=True))
    assert message == f"{path}: some rows have no stars"


# Again and again, and no more than is asked for


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_rows_can_be_gone_through_again_and_side_by_side(tmp_path: Path, suffix: str) -> None:
    path, texts = tmp_path / f"data{suffix}", [text for text, _ in TRICKY]
    if suffix == ".txt":
        write_text(path, texts)
    else:
        write_table(path, TRICKY)
    rows = read_rows(str(path), DataConfig(), labelled=False)
    assert list(rows) == list(rows)
    assert all(one == other for one, other in zip(rows, rows, strict=True))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_fault_far_into_a_file_shows_when_it_is_reached(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"data{suffix}", [*(("a", "up") for _ in range(3000)), ("b", "")])
    rows = iter(read_rows(str(path), DataConfig(), labelled=True))
    assert next(rows) == Row("a", "up")
    assert refusal(lambda: list(rows)) == f"{path}: some rows have no label"


def test_a_column_that_the_first_object_of_a_jsonl_file_lacks_is_found_further_on(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"other": 1}', '{"text": "a", "label": "up"}'])
    assert rows_in(path, DataConfig(), labelled=True) == [Row("a", "up")]


def test_two_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.csv", ["text,label,text", "a,up,b"])
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=True)) == f"{path}: 2 columns are called 'text'"


# Line ends, marks and encodings


def test_a_carriage_return_ends_a_line_of_a_txt_file(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"first\rsecond\r\nthird\n\rfourth")
    assert [row.text for row in rows_in(path, DataConfig(), labelled=False)] == ["first", "second", "third", "fourth"]


def test_separators_that_are_no_line_ends_stay_in_the_text(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a\u2028b", "c\x85d", "e\x0bf\x0cg"])
    assert [row.text for row in rows_in(path, DataConfig(), labelled=False)] == ["a\u2028b", "c\x85d", "e\x0bf\x0cg"]


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_nul_characters_are_read_as_spaces_and_their_rows_can_be_told(tmp_path: Path, suffix: str) -> None:
    path, rows = tmp_path / f"data{suffix}", [("a\0b", "up"), ("\0c\0", "down"), ("d", "up"), ("\0 \0", "up")]
    if suffix == ".txt":
        write_text(path, [text for text, _ in rows])
    else:
        write_table(path, rows)
    found = rows_in(path, DataConfig(), labelled=False)
    assert [row.text for row in found] == ["a b", "c", "d"]
    assert [isinstance(row, MendedRow) for row in found] == [True, True, False]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_and_told_what_to_do(tmp_path: Path, suffix: str, encoding: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes("text,label\tmore\n".encode(encoding) * 900)
    message = refusal(lambda: read_rows(str(path), DataConfig(), labelled=False))
    assert message.startswith(f"{path}: it is UTF-16 or UTF-32; save it as UTF-8")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("before", [0, 3, 300_000])
def test_a_line_that_is_not_utf_8_is_named_wherever_it_stands(tmp_path: Path, suffix: str, before: int) -> None:
    path = tmp_path / f"data{suffix}"
    good = "좋은 하루,긍정\n".encode()
    path.write_bytes(good * before + "나쁜 하루,부정\n".encode("cp949") + good)
    message = refusal(lambda: read_rows(str(path), DataConfig(), labelled=False))
    assert message.startswith(f"{path}: line {before + 1} is not UTF-8; ")
    assert "iconv -f cp949 -t utf-8" in message


def test_a_file_that_ends_within_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes("가\n나".encode()[:-1])
    assert "line 2 is not UTF-8" in refusal(lambda: read_rows(str(path), DataConfig(), labelled=False))


def test_a_character_that_two_blocks_of_a_file_share_is_read(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["x" + "가" * 1_500_000])
    assert [len(row.text) for row in rows_in(path, DataConfig(), labelled=False)] == [1_500_001]


@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_a_text_of_a_million_characters_is_read(tmp_path: Path, suffix: str) -> None:
    path, long = tmp_path / f"data{suffix}", "word " * 200_000
    if suffix == ".txt":
        write_text(path, [long, "short"])
    else:
        write_table(path, [(long, "up"), ("short", "down")])
    assert [row.text for row in rows_in(path, DataConfig(), labelled=False)] == [long.strip(), "short"]


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["short", "word " * (2**24 // 5 + 1)])
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)).startswith(f"{path}: line 2 has 16,777,216 characters")


def test_a_broken_line_of_a_jsonl_file_is_named(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "a"}', "", '{"text": "b"'])
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)).startswith(f"{path}: line 3 is not JSON: ")


def test_half_a_character_in_a_jsonl_file_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.jsonl", ['{"text": "\\ud800"}'])
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=False)).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_cell_that_is_neither_text_nor_number_is_refused_by_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".jsonl":
        write_text(path, ['{"text": ["a", "b"], "label": 1}'])
    else:
        datasets.Dataset.from_dict({"text": [["a", "b"]], "label": [1]}).to_parquet(path)
    assert refusal(lambda: rows_in(path, DataConfig(), labelled=True)).startswith(f"{path}: a cell holds a list")


# The hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_data_set_of_the_hub_gives_its_rows(tmp_path: Path, suffix: str) -> None:
    write_table(tmp_path / "set" / f"train{suffix}", [("a b", "up"), ("", "up"), ("c", "down")])
    rows = read_rows(f"hub:{tmp_path / 'set'}", DataConfig(), labelled=True)
    assert list(rows) == list(rows) == [Row("a b", "up"), Row("c", "down")]


@pytest.mark.usefixtures("cache")
def test_a_class_of_the_hub_that_is_stored_as_a_number_is_called_by_its_name(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    (tmp_path / "set").mkdir()
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    table.to_parquet(tmp_path / "set" / "train.parquet")
    assert list(read_rows(f"hub:{tmp_path / 'set'}", DataConfig(), labelled=True)) == [Row("a", "pos"), Row("b", "neg")]


@pytest.mark.usefixtures("cache")
def test_a_data_set_of_the_hub_without_the_column_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.jsonl", [("a", "up")], columns=("document", "label"))
    source = f"hub:{tmp_path / 'set'}"
    message = refusal(lambda: read_rows(source, DataConfig(), labelled=True))
    assert message.startswith(f"{source}: there is no column 'text'; there are document, label")


@pytest.fixture
def two_languages(tmp_path: Path) -> str:
    """A data set of two configurations, each with splits of its own."""
    head = ["---", "configs:"]
    for language in ("en", "ko-KR"):
        head += [f"- config_name: {language}", "  data_files:"]
        for split in ("train", "validation"):
            write_table(tmp_path / "set" / language / f"{split}.csv", [(f"{language} {split}", "up")])
            head.append(f"  - {{split: {split}, path: {language}/{split}.csv}}")
    write_text(tmp_path / "set" / "README.md", [*head, "---"])
    return f"hub:{tmp_path / 'set'}"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("named", "text"),
    [("en", "en train"), ("ko-KR", "ko-KR train"), ("en:validation", "en validation"), ("ko-KR:validation", "ko-KR validation")],
)
def test_a_data_set_of_several_configurations_gives_the_rows_of_the_one_that_is_named(
    two_languages: str, named: str, text: str
) -> None:
    assert list(read_rows(f"{two_languages}:{named}", DataConfig(), labelled=False)) == [Row(text, None)]


@pytest.mark.usefixtures("cache")
def test_the_splits_of_a_configuration_are_its_own(two_languages: str) -> None:
    assert hub.find_split(f"{two_languages}:ko-KR", "valid") == f"{two_languages}:ko-KR:validation"
    assert hub.find_split(f"{two_languages}:ko-KR", "test") is None
    assert hub.find_split(f"{two_languages}:ko-KR:train", "valid") is None


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("named", ["", ":fr", ":fr:train", ":train"])
def test_a_data_set_of_several_configurations_without_one_of_them_is_refused_with_those_there_are(
    two_languages: str, named: str
) -> None:
    message = refusal(lambda: read_rows(f"{two_languages}{named}", DataConfig(), labelled=False))
    assert message == f"{two_languages}{named}: which configuration? there are en, ko-KR; write {two_languages}:en"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("named", ["", ":train", ":default", ":default:train"])
def test_where_there_is_one_configuration_nobody_need_name_it(tmp_path: Path, named: str) -> None:
    """A folder may have colons in its name."""
    write_table(tmp_path / "a:b" / "set" / "train.csv", [("a", "up")])
    source = f"hub:{tmp_path / 'a:b' / 'set'}{named}"
    assert list(read_rows(source, DataConfig(), labelled=True)) == [Row("a", "up")]
    assert hub.folder_of(source) == tmp_path / "a:b" / "set"


@pytest.mark.usefixtures("cache")
def test_a_data_set_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    source = f"hub:{tmp_path / 'nothing'}"
    assert refusal(lambda: read_rows(source, DataConfig(), labelled=True)).startswith(f"{source}: cannot be read: ")
