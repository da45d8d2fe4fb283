"""Which words a model knows; and that text is read back exactly as the model saw it, whatever is typed."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from service.text import Tokenizer
from training import vocabulary
from training.config import TextConfig
from training.errors import DataError
from training.vocabulary import build_vocabulary

MODES = ("split", "keep", "drop")
SPECIAL = ("<pad>", "<unk>", "</s>")

modes = st.builds(TextConfig, punctuation=st.sampled_from(MODES), lowercase=st.booleans(), unit=st.sampled_from(["word", "char"]))
# But NUL, of which whoever reads rows makes a space before they come here.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
# Words that are awkward one way or another: decomposed, with the sign for a space, special, with marks, without any letter.
_LATIN = ["é", "e\u0301", "don't", "U.S.A.", "3,000", "ＡＢ", "İ", "ß", "a_b", "…"]
_OTHER = ["오늘", unicodedata.normalize("NFD", "날씨가"), "좋다.", "नमस्ते", "👩\u200d👩\u200d👧"]
_SIGNS = ["▁", "▁▁a", "b▁", "<pad>", "</s>", "<unk>", "\u200b", "\u0301", "\t", "\u3000", "\ufeff"]
awkward = st.lists(st.sampled_from([*_LATIN, *_OTHER, *_SIGNS]), max_size=8)


def words_of(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.piece(i) for i in range(tokenizer.vocabulary_size)]


def knows_all_of(text: str, config: TextConfig) -> Tokenizer:
    """A tokenizer that was made from text alone, and so knows all of its words."""
    try:
        return build_vocabulary([text], config, with_end=True)
    except DataError:
        assume(False)
        raise


# Reversible


@settings(deadline=None, max_examples=300)
@given(anything, modes)
@example(unicodedata.normalize("NFD", "오늘 날씨가 정말 좋다."), TextConfig())
@example("▁a ▁▁b c▁d ▁", TextConfig(punctuation="keep"))
@example("<pad> a</s> <unk>", TextConfig(punctuation="drop"))
def test_known_words_are_read_back_as_the_normalised_text(text: str, config: TextConfig) -> None:
    tokenizer = knows_all_of(text, config)
    encoded = tokenizer.encode(text)
    assert tokenizer.decode(encoded.ids) == tokenizer.normalise(text)
    assert encoded.unknown_words == []


@settings(deadline=None, max_examples=200)
@given(awkward, st.sampled_from([" ", "  ", "\t", "\n", "\u3000", "▁", ""]), modes)
def test_awkward_words_are_read_back_as_the_normalised_text(words: list[str], between: str, config: TextConfig) -> None:
    text = between.join(words)
    tokenizer = knows_all_of(text, config)
    assert tokenizer.decode(tokenizer.encode(text).ids) == tokenizer.normalise(text)


@settings(deadline=None, max_examples=100)
@given(st.lists(anything, min_size=1, max_size=5), st.data(), modes)
def test_known_words_in_any_order_are_read_back(texts: list[str], data: st.DataObject, config: TextConfig) -> None:
    tokenizer = knows_all_of(" ".join(texts), config)
    shuffled = " ".join(data.draw(st.permutations(texts)))
    assert tokenizer.decode(tokenizer.encode(shuffled).ids) == tokenizer.normalise(shuffled)


@settings(deadline=None, max_examples=200)
@given(anything, modes)
@example("J\u030c", TextConfig(lowercase=True))  # its capital has no composed form, its small letter has
def test_normalising_twice_changes_nothing_more(text: str, config: TextConfig) -> None:
    tokenizer = build_vocabulary(["word"], config, with_end=True)
    once = tokenizer.normalise(text)
    assert tokenizer.normalise(once) == once


@settings(deadline=None, max_examples=100)
@given(anything, modes)
def test_decomposed_and_composed_text_are_the_same_words(text: str, config: TextConfig) -> None:
    tokenizer = knows_all_of(text, config)
    assert tokenizer.encode(unicodedata.normalize("NFD", text)).ids == tokenizer.encode(unicodedata.normalize("NFC", text)).ids


@settings(deadline=None, max_examples=50)
@given(anything, anything, modes)
def test_what_is_saved_reads_text_as_what_was_built(known: str, other: str, config: TextConfig) -> None:
    tokenizer = knows_all_of(known, config)
    saved = Tokenizer.from_json(tokenizer.to_json())
    assert words_of(saved) == words_of(tokenizer)
    for text in (known, other, f"{known} {other}"):
        assert saved.encode(text) == tokenizer.encode(text)
        assert saved.normalise(text) == tokenizer.normalise(text)


# Special words are no part of any text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("typed", ["<pad>", "<unk>", "</s>", "a <pad> b", "a</s>", "<pad><pad>", " </s> ", "▁<pad>", "<PAD>"])
def test_a_special_word_typed_in_training_text_is_ordinary_characters(mode: str, typed: str) -> None:
    tokenizer = build_vocabulary([typed] * 3, TextConfig(punctuation=mode), with_end=True)
    ids = tokenizer.encode(typed).ids
    assert ids
    assert not tokenizer.special_ids & set(ids)
    assert tokenizer.decode(ids) == tokenizer.normalise(typed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("typed", SPECIAL)
def test_a_special_word_typed_to_a_model_that_never_saw_it_is_unknown_and_never_padding_or_an_end(mode: str, typed: str) -> None:
    tokenizer = build_vocabulary(["a b c"], TextConfig(punctuation=mode), with_end=True)
    encoded = tokenizer.encode(typed)
    assert set(encoded.ids) == {tokenizer.unknown_id}
    assert encoded.unknown_words


@settings(deadline=None, max_examples=200)
@given(awkward, modes)
def test_no_text_whatever_encodes_to_padding_or_an_end(words: list[str], config: TextConfig) -> None:
    tokenizer = build_vocabulary(["<pad> a </s>"], config, with_end=True)
    for text in (" ".join(words), "".join(words)):
        assert not {tokenizer.padding_id, tokenizer.end_id} & set(tokenizer.encode(text).ids)


@pytest.mark.parametrize("mode", MODES)
def test_special_words_in_the_text_do_not_move_the_special_ids(mode: str) -> None:
    tokenizer = build_vocabulary(["</s> <unk> <pad>"] * 9, TextConfig(punctuation=mode), with_end=True)
    assert (tokenizer.padding_id, tokenizer.unknown_id, tokenizer.end_id) == (0, 1, 2)
    assert words_of(tokenizer)[:3] == ["<pad>", "<unk>", "</s>"]


# Punctuation


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("split", [" Well", ",", " don", "'", "t", ".", ".", " (", "A", ")"]),
        ("keep", [" Well,", " don't..", " (A)"]),
        ("drop", [" Well", " don", " t", " A"]),
    ],
)
def test_marks_become_words_parts_of_words_or_nothing(mode: str, expected: list[str]) -> None:
    text = "Well, don't.. (A)"
    tokenizer = build_vocabulary([text], TextConfig(punctuation=mode), with_end=False)
    assert [tokenizer.piece(i) for i in tokenizer.encode(text).ids] == expected


def test_dropped_marks_separate_words_and_leave_no_trace() -> None:
    tokenizer = build_vocabulary(["좋다!! a.b"], TextConfig(punctuation="drop"), with_end=False)
    assert tokenizer.normalise(" (좋다!!)  a.b…") == "좋다 a b"


@pytest.mark.parametrize("mode", MODES)
def test_case_is_kept_unless_asked_otherwise(mode: str) -> None:
    kept = build_vocabulary(["The the THE"], TextConfig(punctuation=mode), with_end=False)
    folded = build_vocabulary(["The the THE"], TextConfig(punctuation=mode, lowercase=True), with_end=False)
    assert len(set(kept.encode("The the THE").ids)) == 3
    assert len(set(folded.encode("The the THE").ids)) == 1


# Characters


@pytest.mark.parametrize("mode", MODES)
def test_every_character_is_a_piece_and_so_is_a_space(mode: str) -> None:
    tokenizer = build_vocabulary(["가나  ab\t.\u0301"], TextConfig(unit="char", punctuation=mode), with_end=False)
    pieces = [tokenizer.piece(i) for i in tokenizer.encode("가나  ab").ids]
    assert pieces == [" ", "가", "나", " ", "a", "b"]


def test_the_most_characters_are_a_number_of_characters_and_a_space_is_always_one_of_them() -> None:
    for text in ("aaa bbb c", "aaabbbc"):
        known = words_of(build_vocabulary([text], TextConfig(unit="char", max_words=2), with_end=True))[3:]
        assert known == ["a", " "]
    rare = build_vocabulary(["aaa bb"], TextConfig(unit="char", min_count=3), with_end=False)
    assert words_of(rare)[2:] == ["a", " "]


# Which words


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60), st.integers(1, 12), st.integers(1, 4))
def test_the_vocabulary_is_the_most_frequent_words_and_the_most_frequent_come_first(
    words: list[str], max_words: int, min_count: int
) -> None:
    counts = Counter(words)
    frequent = [word for word in counts if counts[word] >= min_count]
    assume(frequent)
    config = TextConfig(max_words=max_words, min_count=min_count)
    known = [word.strip() for word in words_of(build_vocabulary([" ".join(words)], config, with_end=True))[3:]]
    assert len(known) == len(set(known)) == min(max_words, len(frequent))
    assert [counts[word] for word in known] == sorted((counts[word] for word in frequent), reverse=True)[:max_words]


def test_equally_frequent_words_stand_in_the_order_of_their_characters() -> None:
    tokenizer = build_vocabulary(["나 b a 가", "c, c"], TextConfig(), with_end=False)
    assert words_of(tokenizer)[2:] == [" c", ",", " a", " b", " 가", " 나"]


@settings(deadline=None, max_examples=50)
@given(st.lists(anything, min_size=1, max_size=8), modes, st.integers(1, 9), st.integers(1, 3))
def test_words_are_the_same_however_little_is_held_while_they_are_counted(
    texts: list[str], config: TextConfig, runs: int, together: int
) -> None:
    expected = knows_all_of(" ".join(texts), config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_KEPT_RUNS", runs)
        patch.setattr(vocabulary, "_RUNS_TOGETHER", together)
        assert words_of(build_vocabulary(texts, config, with_end=True)) == words_of(expected)


def test_of_more_words_than_are_held_the_frequent_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_KEPT_RUNS", 50)
    monkeypatch.setattr(vocabulary, "_KEPT_WORDS", 100)
    texts = (f"often{number % 7} rare{number} {'twice ' * (number % 2)}" for number in range(5_000))
    known = words_of(build_vocabulary(texts, TextConfig(max_words=8), with_end=False))[2:]
    assert set(known) == {" twice", *(f" often{number}" for number in range(7))}


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.from_regex(vocabulary.PLAIN, fullmatch=True), modes)
@example("가힣az", TextConfig(lowercase=True))
def test_plain_letters_are_one_word_under_every_setting(run: str, config: TextConfig) -> None:
    if vocabulary.PLAIN.fullmatch(run) and config.unit == "word":
        tokenizer = knows_all_of(run, config)
        assert words_of(tokenizer)[3:] == [f" {run}"]
        assert tokenizer.decode(tokenizer.encode(run).ids) == run


def test_what_has_no_spaces_at_all_is_no_word() -> None:
    tokenizer = build_vocabulary(["a " + "b" * 1_000_000], TextConfig(), with_end=False)
    assert words_of(tokenizer)[2:] == [" a"]


def test_the_end_of_a_sentence_has_an_id_only_where_it_is_asked_for() -> None:
    with_end, without = (build_vocabulary(["a b"], TextConfig(), with_end=end) for end in (True, False))
    assert (with_end.end_id, with_end.vocabulary_size) == (2, 5)
    assert (without.end_id, without.vocabulary_size) == (None, 4)


def test_the_same_texts_give_the_same_file() -> None:
    texts = ["b a", "a c b", "가 나 다"]
    first, second = (build_vocabulary(iter(texts), TextConfig(), with_end=True).to_json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("texts", "config"),
    [
        ([], TextConfig()),
        (["", " \t"], TextConfig()),
        (["a b c"], TextConfig(min_count=2)),
        (["...", "!?"], TextConfig(punctuation="drop")),
    ],
)
def test_text_without_a_word_that_counts_is_refused(texts: list[str], config: TextConfig) -> None:
    with pytest.raises(DataError, match=r"min_count"):
        build_vocabulary(texts, config, with_end=True)
