"""service.inference.scheduler: who runs next. No models, no clock."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.inference.scheduler import MIN_CHUNK_WORDS, RIDE_WORDS, TURN_WORDS, WRITERS_PER_READER, Chunk, Scheduler


@dataclass(eq=False)
class Item:
    """A sequence: words to read, words to write, words written since it got its row."""

    unread: int = 0
    unwritten: int = 10**9
    turn: int = 0
    riding: bool = False
    left: bool = False

    @property
    def ended(self) -> bool:
        return self.left or self.unwritten <= 0


def ended(item: Item) -> bool:
    return item.ended


def scheduler(max_rows: int = 1000, max_prefill_words: int = 1000, items: list[Item] | None = None) -> Scheduler[Item]:
    """With these items admitted as far as there are rows, and nothing done yet."""
    made: Scheduler[Item] = Scheduler(max_rows, max_prefill_words)
    for item in items or []:
        made.add(item)
    made.admit(ended)
    return made


def writers(count: int) -> list[Item]:
    return [Item() for _ in range(count)]


def read(chunks: list[Chunk[Item]]) -> None:
    for item, words in chunks:
        item.unread -= words


def step(scheduler: Scheduler[Item]) -> list[Item]:
    """A word into every row of a step."""
    rows = [item for item in scheduler.step() if not item.ended]
    for item in rows:
        if item.unread:
            item.unread -= 1
        else:
            item.unwritten -= 1
    return rows


def round_of(scheduler: Scheduler[Item]) -> None:
    """What the generator does between two looks at who arrived."""
    scheduler.park(ended)
    scheduler.admit(ended)
    read(scheduler.chunks())
    step(scheduler)
    scheduler.drop(ended)


def test_the_oldest_are_admitted_first_and_no_more_than_there_are_rows() -> None:
    items = [Item(1) for _ in range(5)]
    made: Scheduler[Item] = Scheduler(2, 100)
    for item in items:
        made.add(item)
    assert made.admit(ended) == items[:2]
    assert list(made.waiting) == items[2:]
    assert made.rows == 2
    assert made.admit(ended) == []


def test_who_has_nothing_to_read_writes_at_once() -> None:
    reader, writer = Item(3), Item()
    made = scheduler(items=[reader, writer])
    assert (made.reading, made.writing) == ([reader], [writer])


def test_a_row_that_is_freed_is_given_to_the_next() -> None:
    first, second = Item(), Item()
    made = scheduler(1, items=[first, second])
    first.left = True
    assert made.drop(ended) == [first]
    assert made.admit(ended) == [second]


def test_what_left_while_waiting_never_gets_a_row_and_leaves_nothing_behind() -> None:
    gone, here = Item(1, left=True), Item(1)
    made = scheduler(1, items=[gone, here])
    assert made.reading == [here]
    for _ in range(100):
        made.add(Item(1, left=True))
    assert made.drop(ended) == []
    assert not made.waiting


def test_only_those_that_held_a_row_are_told_as_dropped() -> None:
    reading, writing, waiting = Item(5), Item(), Item()
    made = scheduler(2, items=[reading, writing, waiting])
    reading.left = writing.left = waiting.left = True
    assert made.drop(ended) == [reading, writing]
    assert made.idle


# Reading in calls of its own


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 100), min_size=1, max_size=30), budget=st.integers(1, 300))
def test_a_call_reads_no_more_padded_words_than_the_budget_but_for_one_sequence(lengths: list[int], budget: int) -> None:
    items = [Item(length) for length in lengths]
    made = scheduler(max_prefill_words=budget, items=items)
    rounds = 0
    while chunks := made.chunks():
        assert len(chunks) == 1 or max(chunk.words for chunk in chunks) * len(chunks) <= budget
        assert all(1 <= chunk.words <= chunk.sequence.unread for chunk in chunks)
        read(chunks)
        made.writing.clear()  # nobody writes: nobody rides
        made.reading = [item for item in made.reading if item.unread]
        rounds += 1
        assert rounds <= sum(lengths)
    assert not any(item.unread for item in items)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=20), budget=st.integers(1, 600))
def test_the_oldest_reader_always_reads_and_all_do_where_the_budget_gives_each_a_share(lengths: list[int], budget: int) -> None:
    items = [Item(length) for length in lengths]
    chunks = scheduler(max_prefill_words=budget, items=items).chunks()
    assert [chunk.sequence for chunk in chunks] == items[: len(chunks)]
    assert chunks
    if budget >= MIN_CHUNK_WORDS * len(items):
        assert [chunk.words for chunk in chunks] == [min(length, budget // len(items)) for length in lengths]


def test_a_short_prompt_is_read_although_a_long_one_is_ahead_of_it() -> None:
    long, short = Item(100_000), Item(12)
    made = scheduler(max_prefill_words=256, items=[long])
    read(made.chunks())
    step(made)
    made.add(short)
    made.admit(ended)
    read(made.chunks())
    assert short.unread == 0
    assert step(made) == [short]
    assert long.unread > 90_000


def test_a_long_prompt_is_read_in_chunks_while_others_write() -> None:
    writer, reader = Item(), Item(25)
    made = scheduler(max_prefill_words=10, items=[writer, reader])
    words = []
    while chunks := made.chunks():
        words.append(chunks[0].words)
        read(chunks)
        assert step(made)[0] is writer
    assert words == [10, 10, 5]
    assert step(made) == [writer, reader]


def test_who_has_read_all_writes_in_the_same_round() -> None:
    reader = Item(5)
    made = scheduler(items=[reader])
    read(made.chunks())
    assert made.step() == [reader]
    assert made.chunks() == []


# Riding along


def test_a_short_prompt_rides_where_many_write() -> None:
    rider = Item(RIDE_WORDS)
    made = scheduler(items=[*writers(WRITERS_PER_READER + 1), rider])
    assert made.chunks() == []
    assert step(made)[-1] is rider
    assert rider.unread == RIDE_WORDS - 1


@pytest.mark.parametrize(
    ("writing", "unread"),
    [(WRITERS_PER_READER, 3), (0, 1), (WRITERS_PER_READER + 1, RIDE_WORDS + 1)],
    ids=["too few write", "nobody writes", "too long"],
)
def test_a_prompt_is_read_in_a_call_of_its_own_where_riding_does_not_pay(writing: int, unread: int) -> None:
    reader = Item(unread)
    made = scheduler(items=[*writers(writing), reader])
    assert made.chunks() == [Chunk(reader, unread)]
    assert reader not in made.step()


def test_many_readers_need_as_many_more_writers_to_ride() -> None:
    made = scheduler(items=[*writers(2 * WRITERS_PER_READER), Item(3), Item(3)])
    assert len(made.chunks()) == 2
    made = scheduler(items=[*writers(2 * WRITERS_PER_READER + 1), Item(3), Item(3)])
    assert made.chunks() == []
    assert len(made.step()) == 2 * WRITERS_PER_READER + 3


def test_a_word_that_is_read_on_the_way_is_no_word_of_a_turn() -> None:
    rider = Item(4)
    made = scheduler(items=[*writers(WRITERS_PER_READER + 1), rider])
    for _ in range(4):
        step(made)
    assert rider.turn == 0
    step(made)
    assert rider.turn == 1


@pytest.mark.parametrize("unread", range(1, 6))
def test_nobody_is_ever_given_no_words_to_read(unread: int) -> None:
    """Also not who has read its last word on the way, when those with whom it rode have ended."""
    made = scheduler(items=[*(Item(unwritten=3) for _ in range(WRITERS_PER_READER + 1)), Item(unread, 5)])
    while not made.idle:
        chunks = made.chunks()
        assert all(chunk.words > 0 for chunk in chunks)
        read(chunks)
        step(made)
        made.drop(ended)


# Turns


def have_written(made: Scheduler[Item], words: int) -> None:
    for _ in range(words):
        step(made)


def test_a_row_is_taken_after_its_turn_for_one_that_waits() -> None:
    first, second = Item(), Item()
    made = scheduler(1, items=[first, second])
    have_written(made, TURN_WORDS - 1)
    assert made.park(ended) == []
    have_written(made, 1)
    assert made.park(ended) == [first]
    assert made.admit(ended) == [second]
    assert list(made.waiting) == [first]


def test_nobody_is_parked_where_nobody_waits_or_a_row_is_free() -> None:
    made = scheduler(2, items=writers(2))
    have_written(made, 5 * TURN_WORDS)
    assert made.park(ended) == []
    made = scheduler(3, items=writers(2))
    have_written(made, 5 * TURN_WORDS)
    made.add(Item())
    assert made.park(ended) == []


def test_no_more_are_parked_than_wait() -> None:
    made = scheduler(4, items=writers(6))
    have_written(made, TURN_WORDS)
    assert len(made.park(ended)) == 2


def test_those_that_wrote_longest_are_parked_first_and_stand_behind_those_that_waited() -> None:
    items = writers(5)
    made = scheduler(3, items=items[:3])
    for item, turn in zip(items, (TURN_WORDS + 1, TURN_WORDS + 5, TURN_WORDS), strict=False):
        item.turn = turn
    made.add(items[3])
    made.add(items[4])
    assert made.park(ended) == [items[1], items[0]]
    assert list(made.waiting) == [items[3], items[4], items[1], items[0]]


def test_a_long_prompt_gives_up_its_row_after_its_turn_too_and_goes_on_reading_later() -> None:
    long, short = Item(100), Item()
    made = scheduler(1, max_prefill_words=1, items=[long, short])
    for _ in range(TURN_WORDS):
        assert made.park(ended) == []
        read(made.chunks())
        step(made)
    assert made.park(ended) == [long]
    assert made.admit(ended) == [short]
    have_written(made, TURN_WORDS)
    assert made.park(ended) == [short]
    assert made.admit(ended) == [long]
    assert long.unread == 100 - TURN_WORDS
    assert made.reading == [long]


def test_where_the_budget_is_short_readers_take_turns() -> None:
    items = [Item(50) for _ in range(3)]
    made = scheduler(3, max_prefill_words=1, items=items)
    read_first = []
    for _ in range(6):
        chunks = made.chunks()
        read_first += [chunk.sequence for chunk in chunks]
        read(chunks)
    assert read_first == items * 2


def test_a_parked_sequence_begins_a_turn_anew() -> None:
    first, second = Item(), Item()
    made = scheduler(1, items=[first, second])
    for expected in (second, first, second):
        have_written(made, TURN_WORDS)
        made.park(ended)
        assert made.admit(ended) == [expected]
        assert expected.turn == 0


@settings(deadline=None)
@given(endless=st.integers(1, 12), max_rows=st.integers(1, 12))
def test_a_newcomer_gets_a_row_after_a_turn_however_many_write_without_end(endless: int, max_rows: int) -> None:
    made = scheduler(max_rows, items=writers(endless))
    for _ in range(TURN_WORDS):
        round_of(made)
    newcomer = Item(unwritten=1)
    made.add(newcomer)
    rounds = 0
    while not newcomer.ended:
        round_of(made)
        rounds += 1
        assert rounds <= TURN_WORDS * (1 + endless // max_rows) + 1


def test_rows_are_shared_evenly_among_more_than_there_are_rows() -> None:
    items = writers(5)
    made = scheduler(2, items=items)
    written: Counter[int] = Counter()
    for _ in range(TURN_WORDS * 50):
        made.park(ended)
        made.admit(ended)
        written.update(items.index(item) for item in step(made))
    assert max(written.values()) - min(written.values()) <= 2 * TURN_WORDS


# Forks


def test_forks_go_before_all_that_came_later_in_their_order() -> None:
    leader, later = Item(), Item()
    siblings = writers(3)
    made = scheduler(1, items=[leader, later])
    made.fork(siblings)
    assert list(made.waiting) == [*siblings, later]


class Traffic(RuleBasedStateMachine):
    """Any order of arrivals, forks, rounds, endings and leavings."""

    MAX_ROWS = 12
    MAX_PREFILL_WORDS = 20

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[Item] = Scheduler(self.MAX_ROWS, self.MAX_PREFILL_WORDS)
        self.here: list[Item] = []

    @rule(unread=st.integers(0, 40), unwritten=st.integers(1, 60))
    def arrives(self, unread: int, unwritten: int) -> None:
        self.here.append(Item(unread, unwritten))
        self.scheduler.add(self.here[-1])

    @rule(unwritten=st.lists(st.integers(1, 60), min_size=1, max_size=15))
    def forks(self, unwritten: list[int]) -> None:
        siblings = [Item(0, words) for words in unwritten]
        self.here += siblings
        self.scheduler.fork(siblings)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.here)).left = True

    @rule(times=st.integers(1, 20))
    def rounds(self, times: int) -> None:
        for _ in range(times):
            self.round()

    def round(self) -> None:
        waiting, free = list(self.scheduler.waiting), self.MAX_ROWS - self.scheduler.rows
        parked = self.scheduler.park(ended)
        assert all(item.turn >= TURN_WORDS for item in parked)
        assert len(parked) <= max(0, len(waiting) - free)
        assert list(self.scheduler.waiting) == waiting + parked
        admitted = self.scheduler.admit(ended)
        assert admitted == [item for item in waiting + parked if not item.ended][: free + len(parked)]
        chunks = self.scheduler.chunks()
        assert len(chunks) < 2 or max(chunk.words for chunk in chunks) * len(chunks) <= self.MAX_PREFILL_WORDS
        assert all(1 <= chunk.words <= chunk.sequence.unread for chunk in chunks)
        read(chunks)
        step(self.scheduler)
        dropped = self.scheduler.drop(ended)
        assert all(item.ended for item in dropped)
        self.here = [item for item in self.here if not item.ended]

    @invariant()
    def rows_are_bounded_and_nobody_stands_in_two_places_or_is_lost(self) -> None:
        places = [id(item) for item in (*self.scheduler.waiting, *self.scheduler.reading, *self.scheduler.writing)]
        assert self.scheduler.rows <= self.MAX_ROWS
        assert len(set(places)) == len(places)
        assert {id(item) for item in self.here if not item.ended} <= set(places)

    def teardown(self) -> None:
        """Everybody is answered once nobody comes any more: in each round somebody gets a word nearer to the end."""
        for _ in range(sum(item.unread + item.unwritten + 1 for item in self.here) + 1):
            if self.scheduler.idle:
                break
            self.round()
        self.round()
        assert self.scheduler.idle
        assert not self.here


TestTraffic = pytest.mark.filterwarnings("default")(Traffic.TestCase)
TestTraffic.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)


@settings(deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 50)), min_size=1, max_size=40),
    max_rows=st.integers(1, 40),
    budget=st.integers(1, 100),
)
def test_everybody_is_answered_whatever_the_lengths(lengths: list[tuple[int, int]], max_rows: int, budget: int) -> None:
    items = [Item(*length) for length in lengths]
    made: Scheduler[Item] = Scheduler(max_rows, budget)
    for item in items:
        made.add(item)
    for _ in range(sum(unread + unwritten for unread, unwritten in lengths)):
        round_of(made)
        if made.idle:
            break
        assert made.rows <= max_rows
    assert made.idle
    assert all(item.ended for item in items)
