"""training.baselines: proper ones, which learn what words and characters tell, from any data that can be trained on."""

import numpy as np
import pytest

from training import baselines
from training.baselines import UNSEEN, character_scores, linear_baselines
from training.rows import Row

WORDS, CHARACTERS = "TF-IDF over words", "TF-IDF over characters 1-4"


def test_both_find_what_words_alone_tell() -> None:
    train = [Row(f"{word} so und so {index}", label) for index in range(9) for word, label in (("good", "up"), ("bad", "down"))]
    test = [Row("so good", None), Row("so bad", None), Row("bad und so", None)]
    assert linear_baselines(iter(train), len(train), test) == {name: ["up", "down", "down"] for name in (WORDS, CHARACTERS)}


def test_characters_tell_of_words_that_training_never_saw() -> None:
    """Korean inflects: what is known of 재밌다 says something of 재밌었어요."""
    train = [Row(text, "긍정") for text in ("재밌다", "재밌네", "재밌음", "재밌어")] + [
        Row(text, "부정") for text in ("별로다", "별로네", "별로임", "별로야")
    ]
    test = [Row("재밌었어요", None), Row("별로였어요", None)]
    assert linear_baselines(train, len(train), test)[CHARACTERS] == ["긍정", "부정"]


def test_marks_count_as_words_and_capitals_are_told_apart() -> None:
    train = [Row(text, "loud") for text in ("ok !", "OK ok", "no !", "NO no")] + [
        Row(text, "calm") for text in ("ok .", "ok ok", "no .", "no no")
    ]
    assert linear_baselines(train, len(train), [Row("!", None), Row("OK", None), Row(".", None)])[WORDS] == ["loud", "loud", "calm"]


def test_of_too_many_rows_some_are_learnt_from_evenly_and_the_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 4)
    sorted_rows = [Row(text, label) for text, label in (("a", "x"), ("b", "y")) for _ in range(6)]
    found = linear_baselines(iter(sorted_rows), 12, [Row("a", None), Row("b", None)])
    assert found == {f"{name}, 4 of 12 rows": ["x", "y"] for name in (WORDS, CHARACTERS)}
    assert set(linear_baselines(sorted_rows[::3], 4, [])) == {WORDS, CHARACTERS}


def test_scores_by_characters_are_learnt_evenly_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 4)
    rows = [Row(text, None) for text in "ab" for _ in range(6)]
    (found,) = character_scores(iter(rows), np.repeat([0, 1], 6), [[Row("a", None), Row("b", None)]], labels=2)
    assert found.argmax(axis=1).tolist() == [0, 1]


def test_texts_are_judged_part_by_part_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "TEXTS_TOGETHER", 3)
    train = [Row("good", "up"), Row("bad", "down")] * 5
    test = [Row(text, None) for text in "good bad bad good good good bad".split()]
    given = linear_baselines(train, 10, iter(test))
    assert given == {name: "up down down up up up down".split() for name in (WORDS, CHARACTERS)}


def test_rows_that_are_all_of_one_label_predict_it() -> None:
    alike = [Row("a", "x")] * 3
    assert all(found == ["x", "x"] for found in linear_baselines(alike, 3, [Row("a", None), Row("b", None)]).values())


def test_scores_by_characters_are_logarithms_of_shares_and_say_what_the_baseline_says() -> None:
    train = [Row(f"{word} so und so {index}", None) for index in range(9) for word in ("good", "bad")]
    test = [Row("so good", None), Row("bad", None)]
    (found, none) = character_scores(train, np.array([2, 0] * 9), [test, []], labels=3)
    assert found.argmax(axis=1).tolist() == [2, 0]
    assert np.exp(found).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (found[:, 1] == UNSEEN).all()
    assert none.shape == (0, 3)


def test_scores_by_characters_of_one_label_alone_are_certain() -> None:
    (found,) = character_scores([Row("a", None), Row("b", None)], np.array([1, 1]), [[Row("c", None)]], labels=2)
    assert found.tolist() == [[UNSEEN, 0.0]]


@pytest.mark.parametrize("text", ["!!", "한", "\u200b", "a" * 10_000])
def test_whatever_has_any_character_can_be_learnt_from(text: str) -> None:
    for found in linear_baselines([Row(text, "x"), Row("b", "y")], 2, [Row(text, None)]).values():
        assert found == ["x"]


def test_the_same_rows_give_the_same_answers() -> None:
    train = [Row(f"w{index % 7} w{index % 5} w{index % 3}", str(index % 3)) for index in range(60)]
    test = [Row(f"w{index % 7} w{index % 4}", None) for index in range(20)]
    assert linear_baselines(train, len(train), test) == linear_baselines(train, len(train), test)
