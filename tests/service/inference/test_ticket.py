"""service.inference.ticket: a request ends exactly once, and its places are given back."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InternalError, Overloaded, TooLarge, Unavailable
from service.inference.ticket import Door, Ticket


@given(order=st.permutations(range(5)))
def test_results_come_in_the_order_of_the_parts_whichever_ends_first(order: list[int]) -> None:
    ticket: Ticket[int] = Ticket(5)
    for done, part in enumerate(order):
        assert ticket.ended == (done == 5)
        ticket.finish(part, part * 10)
    assert ticket.future.result(timeout=0) == [0, 10, 20, 30, 40]


def test_the_first_error_ends_the_whole_request() -> None:
    ticket: Ticket[int] = Ticket(2)
    ticket.fail(Unavailable("first"))
    ticket.fail(Unavailable("second"))
    ticket.finish(0, 1)
    ticket.finish(1, 2)
    with pytest.raises(Unavailable, match="first"):
        ticket.future.result(timeout=0)


def test_an_error_that_is_not_ours_is_told_without_its_text() -> None:
    ticket: Ticket[int] = Ticket(1)
    ticket.fail(ValueError("secret"))
    with pytest.raises(InternalError) as caught:
        ticket.future.result(timeout=0)
    assert "secret" not in str(caught.value)


def test_a_client_that_left_is_not_answered() -> None:
    ticket: Ticket[int] = Ticket(1)
    assert ticket.future.cancel()
    ticket.finish(0, 1)
    ticket.fail(Unavailable("late"))
    with pytest.raises(CancelledError):
        ticket.future.result(timeout=0)


def test_many_threads_that_end_a_request_at_once_end_it_once() -> None:
    for _ in range(50):
        ticket: Ticket[int] = Ticket(1)
        endings: list[int] = []
        ticket.future.add_done_callback(lambda _, endings=endings: endings.append(1))  # type: ignore[misc]
        ways = [lambda t=ticket: t.finish(0, 1), lambda t=ticket: t.fail(Unavailable("x")), lambda t=ticket: t.future.cancel()] * 3
        threads = [threading.Thread(target=way) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert endings == [1]


def test_a_client_that_leaves_ends_its_request_at_once_and_twice_is_once() -> None:
    ticket: Ticket[int] = Ticket(2)
    ticket.finish(0, 1)
    assert not ticket.ended
    ticket.leave()
    assert ticket.ended
    ticket.leave()
    assert ticket.future.cancelled()


def test_a_client_that_leaves_after_its_answer_has_it_still() -> None:
    ticket: Ticket[int] = Ticket(1)
    ticket.finish(0, 1)
    ticket.leave()
    assert ticket.future.result(timeout=0) == [1]


def test_a_request_waits_until_its_first_part_has_a_row() -> None:
    ticket: Ticket[int] = Ticket(2)
    assert ticket.inference_s == 0
    assert ticket.start()
    waited = ticket.queue_s
    assert waited >= 0
    assert not ticket.start()
    assert ticket.queue_s == waited
    assert ticket.inference_s >= 0


def instantly(_: int) -> float:
    return 0.0


def test_the_door_refuses_what_does_not_fit_and_takes_nothing_then() -> None:
    door = Door(3)
    first: Ticket[int] = Ticket(2, work=5)
    door.enter(first, instantly)
    with pytest.raises(Overloaded, match="3 are the most"):
        door.enter(Ticket[int](2, work=7), instantly)
    assert (door.taken, door.work) == (2, 5)
    door.enter(Ticket[int](1, work=1), instantly)
    assert (door.taken, door.work) == (3, 6)


@pytest.mark.parametrize(
    ("work", "seconds_a_unit", "expected"), [(10, 0.5, 5), (10, 0.05, 1), (10, 0.0, 1), (7, 0.9, 6), (1, 1e-9, 1)]
)
def test_who_is_refused_is_told_to_come_when_the_work_inside_is_done(work: int, seconds_a_unit: float, expected: int) -> None:
    door = Door(1)
    door.enter(Ticket[int](1, work), instantly)
    with pytest.raises(Overloaded, match=f"try again in {expected} s") as refused:
        door.enter(Ticket[int](1, work=10**6), lambda units: units * seconds_a_unit)
    assert refused.value.retry_after_s == expected


def test_the_wait_grows_and_shrinks_with_the_work_inside() -> None:
    door = Door(3)
    inside: list[Ticket[int]] = []

    def wait() -> int:
        with pytest.raises(Overloaded) as refused:
            door.enter(Ticket[int](3), lambda units: units / 2)
        return refused.value.retry_after_s

    for work in (4, 10, 6):
        inside.append(Ticket(1, work))
        door.enter(inside[-1], instantly)
        assert wait() == door.work / 2 == sum(ticket.work for ticket in inside) / 2
    inside[1].leave()
    assert wait() == 5
    inside[0].fail(Unavailable("x"))
    assert wait() == 3


@pytest.mark.parametrize("way", ["answer", "error", "cancelled"])
def test_a_place_is_held_until_the_answer_has_ended_however_it_ends(way: str) -> None:
    door = Door(2)
    ticket: Ticket[int] = Ticket(2, work=9)
    door.enter(ticket, instantly)
    ticket.finish(0, 1)
    assert (door.taken, door.work) == (2, 9)
    ways: dict[str, Callable[[], None]] = {
        "answer": lambda: ticket.finish(1, 2),
        "error": lambda: ticket.fail(Unavailable("x")),
        "cancelled": ticket.leave,
    }
    ways[way]()
    assert (door.taken, door.work) == (0, 0)


def test_what_would_never_fit_is_told_so_and_not_to_try_again() -> None:
    with pytest.raises(TooLarge, match="more than the 3 that are accepted at all"):
        Door(3).enter(Ticket[int](4), instantly)
