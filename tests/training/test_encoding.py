"""Rows are encoded for training exactly as the service reads them, and what is remembered on the way changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifact import Ngrams
from service.text import character_ngrams
from tests.training.samples import classify
from training import encoding
from training.config import TextConfig
from training.encoding import SplitEncoder, Vocabulary, count_common, count_unknown
from training.rows import Row
from training.samples import Column
from training.vocabulary import build_vocabulary

WORDS = [
    "오늘",
    "날씨가",
    "좋다.",
    "the",
    "The",
    "cat",
    "(cat)",
    "e\u0301",
    "don't",
    "7",
    "▁",
    "a▁b",
    "\t",
    "",
    "c\x1cd",
    "ㅋㅋ",
    "힣",
    "\u3000",
]

texts = st.lists(
    st.lists(st.sampled_from(WORDS) | st.text("abAB가나.! \t", max_size=5), max_size=8).map(" ".join), min_size=1, max_size=8
)
settings_of_text = st.builds(
    TextConfig,
    punctuation=st.sampled_from(["split", "keep", "drop"]),
    lowercase=st.booleans(),
    unit=st.sampled_from(["word", "char"]),
    max_length=st.just(1000),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts, settings_of_text, st.sampled_from([None, Ngrams(longest=2, buckets=50, slots=6)]), st.integers(1, 20))
def test_a_row_is_encoded_as_the_service_reads_it(
    tmp_path: Path, known: list[str], rows: list[str], text: TextConfig, ngrams: Ngrams | None, remembered: int
) -> None:
    tokenizer = build_vocabulary([*known, "word"], text, with_end=False)
    config = classify("none").model_copy(update={"text": text})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_KEPT_RUNS", remembered)
        patch.setattr(encoding, "_KEPT_UNKNOWN", remembered)
        encoder = SplitEncoder(config, Vocabulary(tokenizer, [], ngrams), tmp_path, "split")
        for row in rows * 2:
            encoder.add(Row(row, None))
        samples = encoder.finish()
    read = [encoded for row in rows * 2 if (encoded := tokenizer.encode(row)).ids]
    assert len(samples) == len(read)
    for number, encoded in enumerate(read):
        ids = samples.ids(number)
        if ngrams is not None:
            unknown = np.flatnonzero(ids >= tokenizer.vocabulary_size)
            assert unknown.tolist() == sorted(encoded.unknown)
            grams = [
                character_ngrams(encoded.unknown[place], ngrams.longest, ngrams.buckets, ngrams.slots) for place in unknown.tolist()
            ]
            assert samples.grams(ids[unknown].astype(np.int64) - tokenizer.vocabulary_size).tolist() == grams
            ids = np.where(ids >= tokenizer.vocabulary_size, tokenizer.unknown_id, ids)
        assert ids.tolist() == encoded.ids
    assert count_unknown(samples, tokenizer) == sum(len(encoded.unknown) for encoded in read)


def test_the_rows_without_words_are_known_by_their_numbers(tmp_path: Path) -> None:
    config = classify("none").model_copy(update={"text": TextConfig(punctuation="drop")})
    tokenizer = build_vocabulary(["a b"], config.text, with_end=False)
    encoder = SplitEncoder(config, Vocabulary(tokenizer, ["up"], None), tmp_path, "split")
    for text in ("?", "a", "!", "b", "."):
        encoder.add(Row(text, "up"))
    assert encoder.wordless.tolist() == [0, 2, 4]
    assert encoder.rows == 5


def test_texts_in_common_are_counted_on_both_sides() -> None:
    few, many = np.array([5, 7, 7, 9], np.int64), Column(np.array([7, 1, 9, 9, 9], np.int64), "q")
    assert count_common(few, many) == (3, 4)
    assert count_common(few[:0], many) == (0, 0)
    assert count_common(few, Column(few[:0], "q")) == (0, 0)
