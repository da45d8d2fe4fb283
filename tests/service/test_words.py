"""service.words: what a classifier is told of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.manifest import Ngrams
from service.text import character_ngrams, word_spans
from service.words import Reader, Words
from tests.builders import WORDS
from training.config import TextConfig
from training.vocabulary import build_vocabulary

TOKENIZER = build_vocabulary([" ".join(WORDS)], TextConfig(), False)
NGRAMS = Ngrams(longest=3, buckets=100, slots=10)
KNOWN = TOKENIZER.vocabulary_size
texts = st.lists(st.sampled_from([*WORDS, "고래", "whale", "고래들이", "x" * 30]), max_size=12).map(" ".join)


@given(texts)
def test_an_unknown_word_comes_with_the_rows_of_its_characters(text: str) -> None:
    words = Reader(TOKENIZER, NGRAMS).read(text)
    for word, word_id in zip(text.split(), words.ids, strict=True):
        if word_id < KNOWN:
            assert TOKENIZER.decode([word_id]) == word
        else:
            assert words.grams[word_id - KNOWN].tolist() == character_ngrams(word, 3, 100, 10)
    assert sorted({word_id - KNOWN for word_id in words.ids if word_id >= KNOWN}) == list(range(len(words.grams)))


@given(texts)
def test_a_model_without_n_grams_is_told_only_that_a_word_is_unknown(text: str) -> None:
    assert Reader(TOKENIZER, None).read(text) == Words(TOKENIZER.encode(text).ids, ())


def test_a_text_of_known_words_is_the_same_to_both(subtests: pytest.Subtests) -> None:
    for text in ("", "오늘 날씨가", " ".join(WORDS)):
        with subtests.test(text=text):
            assert Reader(TOKENIZER, NGRAMS).read(text) == Reader(TOKENIZER, None).read(text)


@pytest.mark.parametrize("ngrams", [NGRAMS, None])
@given(text=texts, gap=st.sampled_from([" ", "\n\n", "▁", "\u3000"]))
def test_what_is_left_without_a_word_is_read_as_that_text(ngrams: Ngrams | None, text: str, gap: str) -> None:
    reader, text = Reader(TOKENIZER, ngrams), gap.join(["", *text.split(), ""])
    spans = [*word_spans(text)]
    left = [reader.read(text[:start] + text[end:]) for start, end in spans]
    assert [told(words) for words in reader.read_without(text, spans)] == [told(words) for words in left]


def told(words: Words) -> tuple[list[int], list[list[int]]]:
    return words.ids, [row.tolist() for row in words.grams]


def test_what_is_kept_of_words_is_bounded_and_changes_no_answer() -> None:
    reader, first = Reader(TOKENIZER, NGRAMS), Reader(TOKENIZER, NGRAMS).read("고래")
    for start in range(0, 20_000, 1000):
        reader.read(" ".join(f"w{number}" for number in range(start, start + 1000)))
    assert len(reader._kept) <= 8192
    for _ in range(2):
        again = reader.read("고래")
        assert again.ids == first.ids
        assert [row.tolist() for row in again.grams] == [row.tolist() for row in first.grams]
