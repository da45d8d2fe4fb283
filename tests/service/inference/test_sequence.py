"""service.inference.sequence: the words of one generation become its text, and something ends it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.sampling import SamplingOptions
from service.inference.sequence import GenerationOptions, Sequence
from service.inference.ticket import Ticket
from service.text import Tokenizer
from training.config import TextConfig
from training.vocabulary import build_vocabulary

TOKENIZER = build_vocabulary(["오늘 날씨가 정말 좋다. 집 앞, 공원에 사람들이!"], TextConfig(), with_end=True)


def sequence(tokenizer: Tokenizer = TOKENIZER, **options: object) -> Sequence:
    return Sequence(Ticket(1), 0, [2], GenerationOptions(**{"max_new_tokens": 50, **options}), tokenizer)  # type: ignore[arg-type]


def write(target: Sequence, text: str) -> None:
    for word_id in TOKENIZER.encode(text).ids:
        if target.finish_reason is None:
            target.append(word_id)


def test_the_text_is_that_of_its_words_without_the_first_space() -> None:
    target = sequence()
    write(target, "오늘 날씨가 정말 좋다.")
    assert target.text == "오늘 날씨가 정말 좋다."
    assert [token.text for token in target.tokens] == ["오늘", " 날씨가", " 정말", " 좋다", "."]


def test_it_ends_after_max_new_tokens() -> None:
    target = sequence(max_new_tokens=2)
    write(target, "오늘 날씨가 정말")
    assert (target.finish_reason, target.text) == ("length", "오늘 날씨가")


def test_the_end_of_a_sentence_ends_it_and_is_no_part_of_the_text() -> None:
    target = sequence()
    write(target, "오늘")
    assert TOKENIZER.end_id is not None
    target.append(TOKENIZER.end_id)
    assert (target.finish_reason, target.text) == ("eos_token", "오늘")
    assert target.tokens[-1].special


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("정말",), "오늘 날씨가 정말"),
        (("날씨가 정말",), "오늘 날씨가 정말"),  # over two words
        (("씨",), "오늘 날씨"),  # within a word
        (("좋다.", "정"), "오늘 날씨가 정"),  # the first that comes
        ((" 날",), "오늘 날"),
        (("없음",), "오늘 날씨가 정말 좋다."),
        (("오늘",), "오늘"),
    ],
)
def test_a_stop_sequence_ends_the_text_and_stands_in_it(stop: tuple[str, ...], text: str) -> None:
    target = sequence(stop=stop)
    write(target, "오늘 날씨가 정말 좋다.")
    assert target.text == text
    assert (target.finish_reason == "stop_sequence") == (text != "오늘 날씨가 정말 좋다.")


@given(
    words=st.lists(st.integers(3, TOKENIZER.vocabulary_size - 1), min_size=1, max_size=30),
    stop=st.text("오늘 날좋다.", min_size=1, max_size=4),
)
def test_the_words_texts_join_to_the_text_and_a_stop_sequence_is_found_as_soon_as_it_is_there(words: list[int], stop: str) -> None:
    target = sequence(stop=(stop,))
    for word_id in words:
        target.append(word_id)
        if target.finish_reason is not None:
            break
        assert stop not in target.text
    assert "".join(token.text for token in target.tokens) == target.text
    if target.finish_reason == "stop_sequence":
        assert target.text.endswith(stop)
        assert stop not in target.text[:-1]
    else:
        assert target.text == TOKENIZER.decode(words)


def test_a_result_before_the_end_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not ended"):
        sequence().result()


def test_a_seed_is_told_only_where_words_are_drawn(tmp_path: Path) -> None:
    target = sequence(max_new_tokens=1)
    write(target, "오늘")
    assert target.result().seed is None


def test_the_end_before_a_prompt_is_not_counted_as_written() -> None:
    target = sequence(sampling=SamplingOptions(repetition_penalty=2.0))
    write(target, "오늘")
    assert target.prompt == [TOKENIZER.end_id]
    assert list(target.row.history) == TOKENIZER.encode("오늘").ids
