"""service.inference.sequence: the words of one generation become its text, and something ends it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.bookmark import Bookmark
from service.inference.sampling import SamplingOptions
from service.inference.sequence import MAX_STOP_CHARACTERS, GenerationOptions, Sequence, Token
from service.inference.ticket import Ticket
from training.config import TextConfig
from training.vocabulary import build_vocabulary

TOKENIZER = build_vocabulary(["오늘 날씨가 정말 좋다. 집 앞, 공원에 사람들이!"], TextConfig(), with_end=True)


STATE = (np.zeros((1, 1, 4), np.float32),)


def sequence(prompt: list[int] | None = None, start: Bookmark | None = None, **options: object) -> Sequence:
    wanted = GenerationOptions(**{"max_new_tokens": 50, **options})  # type: ignore[arg-type]
    return Sequence(Ticket(1), 0, prompt or [2], wanted, TOKENIZER, start)


def write(target: Sequence, text: str) -> None:
    for word_id in TOKENIZER.encode(text).ids:
        if target.finish_reason is None:
            target.append(word_id)


def tokens(target: Sequence) -> list[Token]:
    return [target.token(index) for index in range(target.published)]


def text_of(target: Sequence) -> str:
    return "".join(token.text for token in tokens(target) if not token.special)


def kept(target: Sequence) -> Bookmark:
    target.keep(STATE)
    assert target.bookmark is not None
    return target.bookmark


def test_the_text_is_that_of_its_words_without_the_first_space() -> None:
    target = sequence()
    write(target, "오늘 날씨가 정말 좋다.")
    target.end_reading()
    assert target.result().text == "오늘 날씨가 정말 좋다."
    assert [token.text for token in tokens(target)] == ["오늘", " 날씨가", " 정말", " 좋다", "."]


def test_it_ends_after_max_new_tokens() -> None:
    target = sequence(max_new_tokens=2)
    write(target, "오늘 날씨가 정말")
    assert (target.finish_reason, target.result().text) == ("length", "오늘 날씨가")


def test_the_end_of_a_sentence_ends_it_and_is_no_part_of_the_text() -> None:
    target = sequence()
    write(target, "오늘")
    assert TOKENIZER.end_id is not None
    target.append(TOKENIZER.end_id)
    assert (target.finish_reason, target.result().text) == ("eos_token", "오늘")
    assert tokens(target)[-1].special


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
    assert text_of(target) == text
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
        assert stop not in text_of(target)
    if target.finish_reason == "stop_sequence":
        assert text_of(target).endswith(stop)
        assert stop not in text_of(target)[:-1]
        assert target.result().text == text_of(target)
    else:
        assert text_of(target) == TOKENIZER.decode(words)


@given(
    words=st.lists(st.integers(3, TOKENIZER.vocabulary_size - 1), min_size=1, max_size=12), stop=st.text("오늘 날좋다.", min_size=1)
)
def test_a_word_that_was_shown_once_is_never_shown_differently_until_the_end(words: list[int], stop: str) -> None:
    target = sequence(stop=(stop,), max_new_tokens=len(words))
    shown: list[str] = []
    for word_id in words:
        if target.finish_reason is None:
            target.append(word_id)
            shown.append(target.token(target.published - 1).text)
        assert [token.text for token in tokens(target)] == shown


def test_who_looks_just_before_the_last_word_is_published_sees_the_words_before_it_whole() -> None:
    """The stop sequence cuts the word in which it ends, and no other, also in the eyes of another thread."""

    class Watched(Sequence):
        seen = ""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if value == "stop_sequence":
                self.seen = text_of(self)

    target = Watched(Ticket(1), 0, [2], GenerationOptions(50, stop=("날",)), TOKENIZER)
    write(target, "오늘 날씨가")
    assert target.seen == "오늘"
    assert text_of(target) == "오늘 날"


def test_a_result_before_the_end_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not ended"):
        sequence().result()


def test_a_seed_is_told_only_where_words_are_drawn() -> None:
    for drawn in (False, True):
        target = sequence(max_new_tokens=1, sampling=SamplingOptions(do_sample=drawn, seed=7))
        write(target, "오늘")
        assert target.result().seed == (7 if drawn else None)


def test_probabilities_are_told_only_where_they_were_asked_for() -> None:
    for options in ({}, {"log_probabilities": True}, {"top_n_tokens": 1}):
        target = sequence(max_new_tokens=2, **options)
        for _ in range(2):
            target.append(5, -0.5, [(5, -0.5)])
        result = target.result()
        assert [token.logprob for token in result.tokens] == ([-0.5, -0.5] if options else [])
        assert len(result.top_tokens) == (2 if "top_n_tokens" in options else 0)
        assert result.ids == [5, 5]
        assert result.mean_logprob == (-0.5 if options else 0.0)


def test_the_end_before_a_prompt_is_not_counted_as_written() -> None:
    target = sequence(sampling=SamplingOptions(repetition_penalty=2.0))
    write(target, "오늘")
    assert target.prompt == [TOKENIZER.end_id]
    assert list(target.row.history) == TOKENIZER.encode("오늘").ids


def test_words_are_counted_as_often_as_they_stand_in_prompt_and_text() -> None:
    target = sequence([2, 5, 6, 5], sampling=SamplingOptions(frequency_penalty=1.0))
    for word_id in (5, 7, 2):
        target.append(word_id)
    assert target.row.history == {5: 3, 6: 1, 7: 1}


# What is read, what is said


def test_a_prompt_is_read_up_to_its_last_word_after_which_the_first_is_said() -> None:
    target = sequence([2, 5, 6])
    seen = []
    for _ in range(3):
        seen.append((target.unread, target.says))
        target.consumed += 1
    assert seen == [(2, False), (1, False), (0, True)]
    assert target.given is None


def test_a_prompt_that_is_scored_is_listened_to_from_its_first_word() -> None:
    target = sequence([2, 5, 6], score_prompt=True)
    given = []
    for _ in range(3):
        assert target.says
        assert target.unread == 0
        target.consumed += 1
        given.append(target.given)
    assert given == [5, 6, None]


def test_where_nothing_is_asked_for_it_is_over_when_all_but_the_last_word_is_read() -> None:
    target = sequence([2, 5, 6], max_new_tokens=0)
    assert not target.speechless
    target.consumed = 2
    assert target.speechless
    assert not sequence([2, 5, 6]).speechless


# Where it goes on


def test_a_bookmark_holds_the_last_word_the_place_in_the_stream_and_the_counts() -> None:
    target = sequence([2, 5], keep_state=True, sampling=SamplingOptions(do_sample=True, seed=9))
    write(target, "오늘 날씨가")
    ids = TOKENIZER.encode("오늘 날씨가").ids
    bookmark = kept(target)
    assert (bookmark.pending, bookmark.position, bookmark.seed, bookmark.tail) == (ids[-1], 2, 9, "오늘 날씨가")
    assert dict(bookmark.history) == {5: 1, **dict.fromkeys(ids, 1)} if 5 not in ids else sum(bookmark.history.values()) == 3


def test_what_goes_on_at_once_keeps_the_space_before_its_first_word_and_what_was_added_to_does_not() -> None:
    target = sequence(keep_state=True)
    write(target, "오늘")
    bookmark = kept(target)
    onward = sequence([bookmark.pending], bookmark)
    write(onward, "날씨가")
    assert text_of(onward) == " 날씨가"
    added = sequence([bookmark.pending, 5], bookmark)
    write(added, "날씨가")
    assert text_of(added) == "날씨가"


def test_after_the_end_of_a_sentence_nothing_of_its_text_is_kept() -> None:
    target = sequence(keep_state=True)
    write(target, "오늘")
    assert TOKENIZER.end_id is not None
    target.append(TOKENIZER.end_id)
    bookmark = kept(target)
    assert (bookmark.pending, bookmark.tail) == (TOKENIZER.end_id, "")
    onward = sequence([bookmark.pending], bookmark)
    write(onward, "날씨가")
    assert text_of(onward) == "날씨가"


@given(words=st.lists(st.integers(3, TOKENIZER.vocabulary_size - 1), min_size=2, max_size=12), data=st.data())
def test_a_stop_sequence_is_found_wherever_the_text_was_parted(words: list[int], data: st.DataObject) -> None:
    text = TOKENIZER.decode(words)
    begin = data.draw(st.integers(0, len(text) - 1))
    stop = text[begin : data.draw(st.integers(begin + 1, len(text)))]
    whole = sequence(stop=(stop,), keep_state=True)
    parts = [sequence(stop=(stop,), keep_state=True)]
    for word_id in words:
        if whole.finish_reason is None:
            whole.append(word_id)
            if data.draw(st.booleans()):
                bookmark = kept(parts[-1])
                parts.append(sequence([parts[-1].words[-1]], bookmark, stop=(stop,), keep_state=True))
            parts[-1].append(word_id)
    assert "".join(map(text_of, parts)) == text_of(whole)
    assert parts[-1].finish_reason == whole.finish_reason == "stop_sequence"


def test_a_bookmark_keeps_as_much_text_as_the_longest_stop_sequence_may_have_begun_in() -> None:
    target = sequence(keep_state=True, max_new_tokens=1000)
    write(target, "날씨가 " * 200)
    bookmark = kept(target)
    assert len(bookmark.tail) == MAX_STOP_CHARACTERS - 1
    stop = bookmark.tail + " "
    onward = sequence([bookmark.pending], bookmark, stop=(stop,))
    write(onward, "오늘")
    assert onward.finish_reason == "stop_sequence"
    assert text_of(onward) == " "
