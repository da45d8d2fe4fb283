"""service.http.tensors: what is written as bytes is read again, and what is none is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.http.tensors import Tensor, check_shape, texts_of_bytes, texts_of_json


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_are_read_as_they_were_written(texts: list[str]) -> None:
    assert texts_of_bytes("t", Tensor("t", "BYTES", [len(texts)], texts).to_bytes()) == texts


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_numbers_are_four_bytes_each_the_lowest_first(numbers: list[float]) -> None:
    content = Tensor("t", "FP32", [len(numbers)], numbers).to_bytes()
    assert list(struct.unpack(f"<{len(numbers)}f", content)) == numbers


@pytest.mark.parametrize("raw", [b"\1", b"\1\0\0", b"\1\0\0\0", b"\2\0\0\0a", b"\1\0\0\0a\1", b"\xff\xff\xff\xffa"])
def test_bytes_that_end_too_soon_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"t\[\d\]: ends before its length says"):
        texts_of_bytes("t", raw)


@pytest.mark.parametrize("text", [b"\xff", "오".encode()[:2], b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"t\[1\]: is not UTF-8"):
        texts_of_bytes("t", b"\0\0\0\0" + struct.pack("<I", len(text)) + text)


def test_texts_of_json_stand_flat_or_row_by_row() -> None:
    assert texts_of_json("t", ["a", "b"]) == texts_of_json("t", [["a"], ["b"]]) == ["a", "b"]
    assert texts_of_json("t", []) == []


@pytest.mark.parametrize("data", [None, 5, [5], ["a", None], [["a"], [["b"]]], {"a": "b"}, [True]])
def test_what_is_no_text_is_refused(data: object) -> None:
    with pytest.raises(InvalidRequest, match=r"t\[\d\]: must be a text"):
        texts_of_json("t", data)


def test_a_shape_has_room_for_all_texts_and_no_more() -> None:
    for shape in ([2], [2, 1], [1, 2]):
        check_shape("t", shape, 2)
    for shape in ([], [1], [3], [2, 2], [0]):
        with pytest.raises(InvalidRequest, match="and there are 2"):
            check_shape("t", shape, 2)
