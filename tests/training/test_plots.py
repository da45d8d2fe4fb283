"""training.plots: real pictures, the same for the same run, of whatever labels there are."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.font_manager import get_font

from tests.training.corpora import evaluation_of
from training import plots
from training.evaluate import Answers, Evaluation
from training.progress import Epoch

HISTORY = [Epoch(1, 2.0, 2.5, 10.0), Epoch(2, 1.5, 2.0, 11.0), Epoch(3, 1.0, 2.2, 12.0)]


def png_size(image: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose every chunk is whole."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds = 8, []
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        assert struct.unpack(">I", image[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    width, height = struct.unpack(">II", image[16:24])
    return width, height


@pytest.mark.parametrize(
    "history",
    [HISTORY, HISTORY[:1], [Epoch(n, 1 / n, None, 1.0) for n in range(1, 60)], [Epoch(1, 0.0, 0.0, 1.0)]],
    ids=["three epochs", "one epoch", "many epochs without a valid split", "nothing left to learn"],
)
def test_curves_are_a_real_picture(history: list[Epoch]) -> None:
    assert png_size(plots.curves(history, history[-1], "a-model")) == (640, 400)


def test_the_same_history_draws_the_same_bytes_and_another_one_others() -> None:
    first = plots.curves(HISTORY, HISTORY[1], "a-model")
    assert plots.curves(HISTORY, HISTORY[1], "a-model") == first
    assert plots.curves(HISTORY, HISTORY[2], "a-model") != first
    assert plots.curves(HISTORY[:2], HISTORY[1], "a-model") != first


@pytest.mark.parametrize(
    "labels",
    [
        ["negative", "positive"],
        ["부정", "긍정"],
        ["$x$", "a_b^c", "\\frac{1}{2}", "<b>"],
        ["a label as long as a sentence that nobody could read at an axis", "긍정", "😀", "\u0bb5\u0ba3"],
        [f"topic {number}" for number in range(30)],
        [str(number) for number in range(80)],
    ],
    ids=["english", "korean", "formulas", "what no font has", "thirty", "eighty"],
)
def test_a_classifier_s_answers_are_drawn_without_a_warning_whatever_its_labels(labels: Sequence[str]) -> None:
    found = plots.of_evaluation(evaluation_of(labels))
    assert list(found) == [plots.CONFUSION, plots.CALIBRATION]
    for image in found.values():
        assert 300 < min(png_size(image)) <= max(png_size(image)) <= 1500


def test_the_same_answers_draw_the_same_bytes_and_others_others() -> None:
    first = plots.of_evaluation(evaluation_of(["a", "b"]))
    assert plots.of_evaluation(evaluation_of(["a", "b"])) == first
    second = plots.of_evaluation(evaluation_of(["a", "b"], seed=2))
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_few_answers_and_a_label_without_rows_are_drawn_too(rows: int) -> None:
    answers = Answers(np.tile(np.array([[2.0, 1.0, 0.0]], np.float32), (rows, 1)), np.zeros(rows, np.int64))
    found = plots.of_evaluation(Evaluation([], "train", ["a", "b", "c"], answers))
    assert list(found) == [plots.CONFUSION, plots.CALIBRATION]
    assert all(min(png_size(image)) > 300 for image in found.values())


def test_there_is_nothing_to_draw_of_a_language_model() -> None:
    assert plots.of_evaluation(Evaluation([], "test", [])) == {}


def test_a_font_is_found_only_where_it_has_every_character() -> None:
    latin = plots.font_for("positive, negative")
    assert latin is not None
    assert {ord(letter) for letter in "positive, negative".replace(" ", "")} <= set(get_font(str(latin.get_file())).get_charmap())
    assert plots.font_for("\U0010fffd") is None
    korean = plots.font_for("긍정")
    assert korean is None or ord("긍") in get_font(str(korean.get_file())).get_charmap()
