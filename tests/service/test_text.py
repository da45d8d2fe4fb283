"""service.text: text to ids and back, and nothing lost between."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.text import END, PADDING, SPACE, UNKNOWN, Encoded, Tokenizer, character_ngrams, joined, word_spans
from tests.builders import WORDS
from training.config import TextConfig
from training.vocabulary import build_vocabulary

MARKS = [".", ",", "!", "?", "'", "-"]
SPACES = [" ", "  ", "\t", "\n", "\u00a0", "\u3000", " \r\n ", "▁", "\0"]
CONFIGS = {
    "split": TextConfig(),
    "drop": TextConfig(punctuation="drop"),
    "keep": TextConfig(punctuation="keep"),
    "lowercase": TextConfig(lowercase=True),
}


def build(config: TextConfig, with_end: bool = True) -> Tokenizer:
    """Knows every word and every mark, each both after a space and attached."""
    return build_vocabulary([f"{token} a{mark}{token}" for token in [*WORDS, *MARKS] for mark in MARKS], config, with_end)


SPLIT, TOKENIZERS = build(CONFIGS["split"]), {name: build(config) for name, config in CONFIGS.items()}
any_tokenizer = st.sampled_from([TOKENIZERS[name] for name in CONFIGS])


@st.composite
def known_texts(draw: st.DrawFn) -> str:
    """Known words and marks with any white space between them; a word after a word has some, or it would be another word."""
    text, before = draw(st.sampled_from(["", *SPACES])), ""
    for token in draw(st.lists(st.sampled_from([*WORDS, *MARKS]))):
        needs_space = before not in ["", *MARKS] and token not in MARKS
        text += draw(st.sampled_from(SPACES if needs_space else ["", *SPACES])) + token
        before = token
    return text + draw(st.sampled_from(["", *SPACES]))


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@given(known_texts(), st.sampled_from(["split", "drop", "lowercase"]))
def test_known_words_come_back_as_the_normalised_text(text: str, config: str) -> None:
    tokenizer = TOKENIZERS[config]
    encoded = tokenizer.encode(text)
    assert encoded.unknown_words == []
    assert tokenizer.decode(encoded.ids) == tokenizer.normalise(text)


@given(known_texts())
def test_only_white_space_differs_between_a_text_and_what_is_read_of_it(text: str) -> None:
    assert SPLIT.normalise(text) == " ".join(text.replace("▁", " ").replace("\0", " ").split())


@given(known_texts())
def test_pieces_join_to_the_decoded_text(text: str) -> None:
    ids = SPLIT.encode(text).ids
    assert "".join(SPLIT.piece(i) for i in ids).removeprefix(" ") == SPLIT.decode(ids)


@given(known_texts(), known_texts())
def test_a_text_and_its_continuation_join_without_a_seam(before: str, after: str) -> None:
    first, second = SPLIT.encode(before).ids, SPLIT.encode(after).ids
    assert (SPLIT.decode(first) + SPLIT.continuation(second)).removeprefix(" ") == SPLIT.decode([*first, *second])


@given(known_texts(), any_tokenizer)
def test_decomposed_letters_read_as_composed_ones(text: str, tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(nfd(text)) == tokenizer.encode(text)


@given(st.text(), any_tokenizer)
def test_any_text_reads_the_same_however_its_letters_are_composed(text: str, tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(nfd(text)).ids == tokenizer.encode(unicodedata.normalize("NFC", text)).ids


@given(st.text(), any_tokenizer)
def test_any_text_can_be_read_and_its_ids_are_words(text: str, tokenizer: Tokenizer) -> None:
    encoded = tokenizer.encode(text)
    assert all(0 <= i < tokenizer.vocabulary_size for i in encoded.ids)
    assert bool(encoded.unknown_words) == (tokenizer.unknown_id in encoded.ids)


@given(st.text() | known_texts(), any_tokenizer)
def test_words_between_spaces_are_read_the_same_alone_as_together(text: str, tokenizer: Tokenizer) -> None:
    words = [text[start:end] for start, end in word_spans(text)]
    assert joined(tokenizer.encode(word) for word in words) == tokenizer.encode(text)


@given(st.text() | known_texts())
def test_between_words_there_is_nothing_to_read(text: str) -> None:
    ends = [0, *(end for _, end in word_spans(text))]
    starts = [*(start for start, _ in word_spans(text)), len(text)]
    assert all(SPLIT.encode(text[end:start]).ids == [] for end, start in zip(ends, starts, strict=True))
    assert all(SPLIT.encode(text[start:end]).ids for start, end in word_spans(text))


@given(st.text(), any_tokenizer)
def test_a_normalised_text_is_normal(text: str, tokenizer: Tokenizer) -> None:
    once = tokenizer.normalise(text)
    assert tokenizer.normalise(once) == once
    assert tokenizer.encode(once).ids == tokenizer.encode(text).ids


@given(st.lists(st.sampled_from([*WORDS, "고래", "돌고래", "whale", "Éa"]), min_size=1))
def test_unknown_words_are_named_once_in_order(words: list[str]) -> None:
    expected = list(dict.fromkeys(word for word in words if word not in WORDS))
    assert SPLIT.encode(" ".join(words)).unknown_words == expected


def test_an_unknown_word_is_named_without_the_marks_around_it() -> None:
    assert SPLIT.encode("오늘 고래, (whale) 좋다").unknown_words == ["고래", "(", "whale", ")"]


@pytest.mark.parametrize("config", CONFIGS)
def test_an_unknown_word_typed_in_decomposed_letters_is_named_whole(config: str) -> None:
    assert TOKENIZERS[config].encode(nfd("오늘 고래콩 좋다")).unknown_words == ["고래콩"]


def test_one_unknown_word_typed_in_two_ways_is_named_once() -> None:
    assert SPLIT.encode("고래 " + nfd("고래")).unknown_words == ["고래"]


def test_an_unknown_word_is_named_as_the_model_reads_it_where_marks_are_dropped() -> None:
    assert TOKENIZERS["drop"].encode("<whale> 좋다").unknown_words == ["whale"]


@pytest.mark.parametrize("special", [PADDING, UNKNOWN, END])
def test_a_special_word_that_is_typed_is_ordinary_characters(special: str) -> None:
    ids = SPLIT.encode(f"오늘 {special} 좋다").ids
    assert SPLIT.padding_id not in ids
    assert SPLIT.end_id not in ids
    assert len(ids) > 3  # its letters and brackets, one by one


@pytest.mark.parametrize("text", ["", " ", "\t\n\u3000", "▁", " ▁ ▁▁"])
def test_white_space_alone_has_no_words(text: str) -> None:
    assert SPLIT.encode(text).ids == []
    assert SPLIT.normalise(text) == ""


def test_a_prompt_begins_where_another_sentence_ended_if_the_model_knows_ends() -> None:
    with_end, without = SPLIT, build(TextConfig(), with_end=False)
    assert with_end.encode_prompt("오늘").ids == [with_end.end_id, *with_end.encode("오늘").ids]
    assert without.end_id is None
    assert without.encode_prompt("오늘") == without.encode("오늘")
    assert with_end.encode_prompt("고래").unknown_words == ["고래"]


def test_special_ids_add_nothing_to_a_text() -> None:
    ids = SPLIT.encode("오늘 좋다").ids
    assert SPLIT.decode([*SPLIT.special_ids, ids[0], *SPLIT.special_ids, ids[1], *SPLIT.special_ids]) == "오늘 좋다"


def test_a_tokenizer_reads_the_same_after_it_was_written_down() -> None:
    again = Tokenizer.from_json(SPLIT.to_json())
    assert again.to_json() == SPLIT.to_json()
    assert again.encode("오늘, 고래!") == SPLIT.encode("오늘, 고래!")
    assert (again.padding_id, again.unknown_id, again.end_id) == (SPLIT.padding_id, SPLIT.unknown_id, SPLIT.end_id)


def _with_added_token(raw: dict[str, Any]) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    raw["added_tokens"] = [{"id": len(raw["model"]["vocab"]), "content": "<secret>", **flags}]


def _with_gap(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"]["▁gap"] = len(raw["model"]["vocab"]) + 1


def _without_padding(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"]["▁pad"] = raw["model"]["vocab"].pop(PADDING)


def _without_unknown(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"]["▁unk"] = raw["model"]["vocab"].pop(UNKNOWN)


def _with_unknown_words_read_as_another(raw: dict[str, Any]) -> None:
    raw["model"]["unk_token"] = "▁the"


def _with_unknown_words_that_cannot_be_read(raw: dict[str, Any]) -> None:
    raw["model"]["unk_token"] = "<nothing>"


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "added tokens": (_with_added_token, "added tokens"),
    "gaps": (_with_gap, "gaps"),
    "no padding": (_without_padding, "lacks <pad> or <unk>"),
    "no unknown": (_without_unknown, "lacks <pad> or <unk>"),
    "another unknown word": (_with_unknown_words_read_as_another, "unk"),
    "an unknown word outside the vocabulary": (_with_unknown_words_that_cannot_be_read, "unk"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_tokenizer_that_is_not_one_of_ours_is_refused_with_a_reason(fault: str) -> None:
    change, reason = REFUSED[fault]
    raw = json.loads(SPLIT.to_json())
    change(raw)
    with pytest.raises(ValueError, match=f"^its tokenizer.*{reason}"):
        Tokenizer.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 5}', "not json"])
def test_what_is_no_tokenizer_at_all_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="^its tokenizer cannot be read: "):
        Tokenizer.from_json(text)


# Unknown words, told apart


@given(st.lists(st.sampled_from([*WORDS, "고래", "whale", "고래들"]), min_size=1, max_size=12))
def test_numbered_ids_tell_unknown_words_apart_and_leave_the_known_as_they_are(words: list[str]) -> None:
    encoded = SPLIT.encode(" ".join(words))
    ids, unknown = encoded.numbered(SPLIT.vocabulary_size)
    assert unknown == encoded.unknown_words
    for at, (word, plain, numbered) in enumerate(zip(words, encoded.ids, ids, strict=True)):
        if at in encoded.unknown:
            assert unknown[numbered - SPLIT.vocabulary_size] == word
        else:
            assert numbered == plain


def test_numbering_leaves_what_was_read_as_it_was() -> None:
    encoded = Encoded([5, 1, 6], {1: "고래"})
    assert encoded.numbered(100) == ([5, 100, 6], ["고래"])
    assert encoded.ids == [5, 1, 6]


# Runs of characters

# The rows of two words in a table of 65,536, up to four characters a run: with other ones every trained model would be worthless.
ROWS_OF_MOVIE_IN_KOREAN = [17267, 64752, 614, 57897, 38708, 21460, 22079, 4124]
ROWS_OF_MOVIE = [
    *(62057, 37701, 15237, 13938, 31323, 30438, 31709, 45471, 5492, 22471),
    *(37047, 44230, 8705, 21124, 35018, 44021, 25368, 31572, 27027, 21179),
]
any_word = st.text(max_size=30)


@pytest.mark.parametrize(("word", "rows"), [("영화", ROWS_OF_MOVIE_IN_KOREAN), ("movie", ROWS_OF_MOVIE)])
def test_a_word_has_the_rows_that_models_were_trained_with(word: str, rows: list[int]) -> None:
    assert character_ngrams(word, 4, 65_536, 24) == rows + [0] * (24 - len(rows))


@given(any_word, st.integers(1, 6), st.integers(1, 1000), st.integers(1, 40))
def test_every_word_has_as_many_rows_as_there_are_slots_the_filled_ones_first(
    word: str, longest: int, buckets: int, slots: int
) -> None:
    rows = character_ngrams(word, longest, buckets, slots)
    assert len(rows) == slots
    filled = [row for row in rows if row]
    assert rows == filled + [0] * (slots - len(filled))
    assert all(1 <= row <= buckets for row in filled)
    assert rows == character_ngrams(word, longest, buckets, slots)


@given(any_word.filter(lambda word: not word.startswith(SPACE)))
def test_a_word_has_the_same_rows_with_a_space_before_it_as_without(word: str) -> None:
    assert character_ngrams(SPACE + word, 4, 65_536, 24) == character_ngrams(word, 4, 65_536, 24)


@given(st.text(min_size=40, max_size=80))
def test_of_a_long_word_runs_are_taken_from_its_beginning_to_its_end(word: str) -> None:
    every = character_ngrams(word, 3, 10**9, 3 * len(word) + 9)
    every = [row for row in every if row]
    taken = character_ngrams(word, 3, 10**9, 24)
    places = [every.index(row) for row in taken]
    assert set(taken) <= set(every)
    assert min(places) < len(every) / 12
    assert taken[-1] in every[-len(every) // 12 :]


def test_a_word_shares_the_runs_of_its_stem_with_its_other_forms() -> None:
    stem, inflected, other = (set(character_ngrams(word, 3, 65_536, 24)) - {0} for word in ("재미있", "재미있었다", "지루하다"))
    assert len(stem & inflected) >= 6
    assert not stem & other
