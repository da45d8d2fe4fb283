"""service.inference.worker: what every worker promises, shown by the plainest one."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from service.errors import DeadlineExceeded, InternalError, Overloaded, RequestError, TooLarge, Unavailable
from service.inference.ticket import Ticket
from service.inference.worker import Worker
from service.metrics import Metrics

NAME = "plain"
Part = tuple[Ticket[int], int]


class Plain(Worker[Part, int]):
    """Answers every part with its number, all that wait in one round, once its gate is open."""

    def __init__(self, metrics: Metrics, places: int = 8) -> None:
        super().__init__(NAME, places, metrics)
        self.gate, self.dies, self.fails = threading.Event(), False, False
        self.entered = threading.Event()
        self.waiting: list[Part] = []
        self.start()

    def submit(self, parts: int = 1, work: int = 1) -> Ticket[int]:
        ticket: Ticket[int] = Ticket(parts, work)
        return self._accept(ticket, [(ticket, part) for part in range(parts)])

    def learn(self, units: int, seconds: float) -> None:
        self._pace.observe(units, seconds)

    def _add(self, part: Part) -> None:
        self.waiting.append(part)

    @property
    def _idle(self) -> bool:
        return not self.waiting

    def _round(self) -> int:
        self.entered.set()
        assert self.gate.wait(20)
        if self.dies:
            raise RuntimeError("a bug")
        now, self.waiting = self.waiting, []
        for ticket, _ in now:
            self._start(ticket)
        self._attempt([ticket for ticket, _ in now], lambda: self._answer(now))
        return len(now)

    def _answer(self, parts: list[Part]) -> None:
        if self.fails:
            raise ValueError("secret")
        for ticket, part in parts:
            ticket.finish(part, part)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def worker(metrics: Metrics) -> Iterator[Plain]:
    worker = Plain(metrics)
    yield worker
    worker.gate.set()
    worker.close(20)


def ended(metrics: Metrics, outcome: str) -> float | None:
    return metrics.registry.get_sample_value("seqserve_inputs_total", {"model": NAME, "outcome": outcome})


def refused(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("seqserve_refused_total", {"model": NAME})


def test_parts_are_answered_in_their_order(worker: Plain) -> None:
    worker.gate.set()
    assert worker.submit(3).future.result(20) == [0, 1, 2]


def test_what_arrives_during_a_round_is_answered_in_the_next(worker: Plain) -> None:
    first = worker.submit()
    assert worker.entered.wait(20)
    second = worker.submit()
    worker.gate.set()
    assert first.future.result(20) == second.future.result(20) == [0]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda ticket: ticket.finish(0, 1), "answer"),
        (lambda ticket: ticket.leave(), "cancelled"),
        (lambda ticket: ticket.fail(DeadlineExceeded("too late")), "deadline"),
        (lambda ticket: ticket.fail(ValueError("secret")), "error"),
        (lambda ticket: ticket.fail(Unavailable("stopped")), "error"),
    ],
    ids=["answer", "cancelled", "deadline", "bug", "unavailable"],
)
def test_a_request_is_counted_once_by_how_it_ended(
    worker: Plain, metrics: Metrics, end: Callable[[Ticket[int]], None], outcome: str
) -> None:
    ticket = worker.submit()
    end(ticket)
    worker.gate.set()
    assert worker.submit().future.result(20)
    expected = {"answer": 1.0} | ({outcome: 1.0} if outcome != "answer" else {"answer": 2.0})
    assert {name: count for name in ("answer", "cancelled", "deadline", "error") if (count := ended(metrics, name))} == expected


def test_every_part_of_a_request_counts(worker: Plain, metrics: Metrics) -> None:
    worker.gate.set()
    worker.submit(3).future.result(20)
    assert ended(metrics, "answer") == 3


def test_waiting_is_timed_once_a_request(worker: Plain, metrics: Metrics) -> None:
    worker.gate.set()
    worker.submit(5).future.result(20)
    assert metrics.registry.get_sample_value("seqserve_queue_seconds_count", {"model": NAME}) == 1


def test_a_full_door_refuses_counts_the_parts_and_takes_nothing(worker: Plain, metrics: Metrics) -> None:
    inside = worker.submit(8)
    with pytest.raises(Overloaded):
        worker.submit(3)
    assert refused(metrics) == 3
    worker.gate.set()
    assert inside.future.result(20)
    assert worker.submit(8).future.result(20)


def test_what_would_never_fit_is_not_counted_as_refused_by_load(worker: Plain, metrics: Metrics) -> None:
    with pytest.raises(TooLarge):
        worker.submit(9)
    assert not refused(metrics)


def test_the_wait_that_is_told_is_the_work_inside_at_the_measured_pace(worker: Plain) -> None:
    tickets = [worker.submit(4, work=20)]
    assert worker.entered.wait(20)

    def told() -> int:
        with pytest.raises(Overloaded) as caught:
            worker.submit(8)
        return caught.value.retry_after_s

    assert told() == 1  # nothing is known yet
    worker.learn(units=2, seconds=1.0)
    assert told() == 10
    tickets.append(worker.submit(1, work=8))
    assert told() == 14
    worker.learn(units=1, seconds=2.5)  # (0.9 x 1 s + 2.5 s) / (0.9 x 2 + 1) units
    assert told() == round(28 * 3.4 / 2.8)
    tickets[0].leave()
    assert told() == round(8 * 3.4 / 2.8)


def test_a_round_teaches_the_pace(worker: Plain) -> None:
    worker.gate.set()
    started_s = time.monotonic()
    worker.submit(4).future.result(20)
    worker.submit(1).future.result(20)  # the first round has been observed before the second begins
    assert 0 < worker._pace.seconds(1) <= time.monotonic() - started_s


def test_a_failing_batch_ends_its_own_requests_and_tells_no_secret(worker: Plain) -> None:
    worker.gate.set()
    worker.fails = True
    with pytest.raises(InternalError) as caught:
        worker.submit().future.result(20)
    assert "secret" not in str(caught.value)
    worker.fails = False
    assert worker.submit().future.result(20)
    assert worker.alive


def test_closing_answers_what_was_accepted_and_refuses_the_rest(worker: Plain) -> None:
    tickets = [worker.submit() for _ in range(3)]
    worker.gate.set()
    worker.close(20)
    assert not worker.alive
    assert all(ticket.future.result(0) == [0] for ticket in tickets)
    with pytest.raises(Unavailable):
        worker.submit()


def test_what_does_not_end_in_time_ends_as_unavailable(worker: Plain) -> None:
    ticket = worker.submit()
    assert worker.entered.wait(20)
    worker.close(0.01)
    with pytest.raises(Unavailable):
        ticket.future.result(0)


def test_an_idle_worker_closes_at_once(metrics: Metrics) -> None:
    worker = Plain(metrics)
    worker.close(20)
    assert not worker._thread.is_alive()


def test_a_loop_that_dies_ends_every_request_and_says_that_it_is_dead(worker: Plain, metrics: Metrics) -> None:
    worker.dies = True
    tickets = [worker.submit(2), worker.submit()]
    worker.gate.set()
    for ticket in tickets:
        with pytest.raises(Unavailable):
            ticket.future.result(20)
    worker._thread.join(20)
    assert not worker.alive
    assert ended(metrics, "error") == 3
    with pytest.raises(Unavailable):
        worker.submit()


def test_requests_from_many_threads_each_end_exactly_once_whatever_happens(worker: Plain, metrics: Metrics) -> None:
    worker.gate.set()
    endings: list[Ticket[int]] = []
    accepted: list[Ticket[int]] = []

    def client(number: int) -> None:
        for turn in range(30):
            try:
                ticket = worker.submit(1 + (number + turn) % 3)
            except RequestError:
                continue
            accepted.append(ticket)
            ticket.future.add_done_callback(lambda _, ticket=ticket: endings.append(ticket))  # type: ignore[misc]
            if turn % 3 == 0:
                ticket.leave()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    worker.close(20)
    assert sorted(map(id, endings)) == sorted(map(id, accepted))
    counted = sum(ended(metrics, outcome) or 0 for outcome in ("answer", "cancelled", "error", "deadline"))
    assert counted == sum(ticket.parts for ticket in accepted)
    assert (worker._door.taken, worker._door.work, worker._tickets) == (0, 0, set())
