"""service.inference.scheduler: who runs next. No models, no clock."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.inference.scheduler import Chunk, Scheduler


@dataclass(eq=False)
class Item:
    unread: int
    left: bool = False


def ended(item: Item) -> bool:
    return item.left


def read(scheduler: Scheduler[Item], chunks: list[Chunk[Item]]) -> None:
    for item, words in chunks:
        item.unread -= words
    scheduler.promote([item for item, _ in chunks if not item.unread])


def test_the_oldest_are_admitted_first_and_no_more_than_there_are_rows() -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=2, max_prefill_words=100)
    items = [Item(1) for _ in range(3)]
    for item in items:
        scheduler.add(item)
    assert [chunk.sequence for chunk in scheduler.plan(ended).read] == items[:2]
    assert list(scheduler.waiting) == items[2:]


def test_a_row_that_is_freed_is_filled_at_the_next_round() -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=1, max_prefill_words=100)
    first, second = Item(1), Item(1)
    scheduler.add(first)
    scheduler.add(second)
    read(scheduler, scheduler.plan(ended).read)
    first.left = True
    assert scheduler.drop(ended) == [first]
    assert [chunk.sequence for chunk in scheduler.plan(ended).read] == [second]


def test_a_long_prompt_is_read_in_chunks_while_others_write() -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=4, max_prefill_words=10)
    writer, reader = Item(1), Item(25)
    scheduler.add(writer)
    read(scheduler, scheduler.plan(ended).read)
    scheduler.add(reader)
    chunks = []
    while reader.unread:
        plan = scheduler.plan(ended)
        assert plan.write == [writer]
        chunks += [chunk.words for chunk in plan.read]
        read(scheduler, plan.read)
    assert chunks == [10, 10, 5]
    assert scheduler.plan(ended).write == [writer, reader]


def test_what_left_while_waiting_never_gets_a_row() -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=4, max_prefill_words=10)
    gone, here = Item(1, left=True), Item(1)
    scheduler.add(gone)
    scheduler.add(here)
    assert [chunk.sequence for chunk in scheduler.plan(ended).read] == [here]


def test_clients_that_leave_the_queue_leave_nothing_behind() -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=1, max_prefill_words=10)
    scheduler.add(Item(1))
    read(scheduler, scheduler.plan(ended).read)
    for _ in range(100):
        scheduler.add(Item(1, left=True))
    assert scheduler.drop(ended) == []
    assert not scheduler.waiting


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=20), budget=st.integers(1, 64))
def test_a_round_reads_no_more_padded_words_than_the_budget(lengths: list[int], budget: int) -> None:
    scheduler: Scheduler[Item] = Scheduler(max_rows=64, max_prefill_words=budget)
    for length in lengths:
        scheduler.add(Item(length))
    rounds = 0
    while chunks := scheduler.plan(ended).read:
        assert max(chunk.words for chunk in chunks) * len(chunks) <= budget
        read(scheduler, chunks)
        rounds += 1
        assert rounds <= sum(lengths)
    assert len(scheduler.writing) == len(lengths)


class Traffic(RuleBasedStateMachine):
    """Any order of arrivals, rounds, endings and leavings."""

    MAX_ROWS = 3

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[Item] = Scheduler(self.MAX_ROWS, max_prefill_words=8)
        self.here: list[Item] = []

    @rule(words=st.integers(1, 20))
    def arrives(self, words: int) -> None:
        item = Item(words)
        self.here.append(item)
        self.scheduler.add(item)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.here)).left = True

    @rule()
    def round(self) -> None:
        plan = self.scheduler.plan(ended)
        read(self.scheduler, plan.read)
        dropped = self.scheduler.drop(ended)
        assert all(item.left for item in dropped)
        self.here = [item for item in self.here if not item.left]

    @invariant()
    def rows_are_bounded_and_nothing_stands_in_two_places(self) -> None:
        places = [*self.scheduler.waiting, *self.scheduler.reading, *self.scheduler.writing]
        assert self.scheduler.rows <= self.MAX_ROWS
        assert len({id(item) for item in places}) == len(places)

    @invariant()
    def nobody_who_is_here_is_lost(self) -> None:
        places = {id(item) for item in (*self.scheduler.waiting, *self.scheduler.reading, *self.scheduler.writing)}
        assert all(id(item) in places for item in self.here if not item.left)

    def teardown(self) -> None:
        for _ in range(sum(item.unread for item in self.here) + len(self.here) * 2 + 2):
            self.round()
            for item in self.scheduler.writing:
                item.left = True
        self.round()
        assert self.scheduler.idle


TestTraffic = pytest.mark.filterwarnings("default")(Traffic.TestCase)
