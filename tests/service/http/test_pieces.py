"""service.http.pieces: a stop sequence is never shown, and nothing else is kept."""

from hypothesis import given
from hypothesis import strategies as st

from service.http.pieces import Held, Piece

words = st.lists(st.text("ab ", min_size=1, max_size=4), max_size=10)
stops = st.lists(st.text("ab ", min_size=1, max_size=5), max_size=3)


def shown(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@given(words, stops)
def test_what_is_shown_before_the_end_is_never_taken_back(words: list[str], stops: list[str]) -> None:
    """As the core writes: it ends as soon as the text holds a stop sequence."""
    held, written, seen, stopped = Held(stops), "", "", False
    for word in words:
        ends = [at + len(stop) for stop in stops if (at := (written + word).find(stop)) >= 0]
        stopped = bool(ends)
        word = (written + word)[: min(ends)][len(written) :] if stopped else word
        written += word
        held.add([Piece(word)])
        if stopped:
            break
        seen += shown(held.take())
        assert written.startswith(seen)
        assert not any(stop in seen for stop in stops)
    whole = seen + shown(held.take_rest(stopped))
    longest = max((len(stop) for stop in stops if stopped and written.endswith(stop)), default=0)
    assert whole == written[: len(written) - longest]


@given(words)
def test_without_stop_sequences_everything_is_shown_at_once(words: list[str]) -> None:
    held = Held([])
    for word in words:
        held.add([Piece(word, -1.0)])
        assert held.take() == [Piece(word, -1.0)]
    assert held.take_rest(stopped=False) == []


def test_pieces_are_shown_whole_once_they_cannot_belong_to_a_stop_sequence() -> None:
    held = Held(["cd"])
    held.add([Piece("abc", -1.0)])
    assert held.take() == []
    held.add([Piece("x", -2.0)])
    assert held.take() == [Piece("abc", -1.0), Piece("x", -2.0)]
    held.add([Piece("ac"), Piece("d")])
    assert held.take_rest(stopped=True) == [Piece("a")]


def test_what_stands_before_the_answer_is_shown_with_its_first_piece() -> None:
    held = Held(["b"], [Piece("a b")])
    assert held.take() == [Piece("a b")]
    held.add([Piece("b")])
    assert held.take_rest(stopped=True) == []
