"""service.inference.prefix: the longest prefix that was read before is found, and the memory is bounded."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference import prefix
from service.inference.prefix import PrefixCache
from service.inference.runtime import State

PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def state(number: float = 0, hidden: int = 4) -> State:
    return (np.full((1, 1, hidden), number, np.float32),)


def size_of(ids: list[int], kept: State) -> int:
    """The bytes that one entry is counted with."""
    cache = PrefixCache(10**9)
    cache.put(ids, kept)
    return cache.bytes


@dataclass
class Slow:
    """What the cache promises, written down without any hash: entries from the longest unused to the last used."""

    max_bytes: int
    entries: list[tuple[list[int], State]] = field(default_factory=list)

    def put(self, ids: list[int], kept: State) -> None:
        if size_of(ids, kept) > self.max_bytes:
            return
        self.entries = [entry for entry in self.entries if entry[0] != ids] + [(ids, kept)]
        while sum(size_of(*entry) for entry in self.entries) > self.max_bytes:
            self.entries.pop(0)

    def find(self, ids: list[int]) -> tuple[int, State | None]:
        known = [entry for entry in self.entries if entry[0] == ids[: len(entry[0])]]
        if not known:
            return 0, None
        best = max(known, key=lambda entry: len(entry[0]))
        self.entries = [entry for entry in self.entries if entry is not best] + [best]
        return len(best[0]), best[1]


@given(
    max_bytes=st.integers(0, 3000),
    work=st.lists(st.tuples(st.booleans(), PROMPTS, st.sampled_from([4, 40, 400])), max_size=40),
)
def test_it_finds_what_a_plain_list_of_the_last_used_finds_within_its_bytes(
    max_bytes: int, work: list[tuple[bool, list[int], int]]
) -> None:
    cache, slow = PrefixCache(max_bytes), Slow(max_bytes)
    for number, (puts, ids, hidden) in enumerate(work):
        if puts:
            kept = state(number, hidden)
            cache.put(ids, kept)
            slow.put(ids, kept)
        else:
            assert cache.find(ids) == slow.find(ids)
        assert cache.bytes == sum(size_of(*entry) for entry in slow.entries) <= max_bytes


def test_the_longest_known_prefix_is_found() -> None:
    cache = PrefixCache(10**6)
    short, long = state(1), state(2)
    cache.put([5, 6], short)
    cache.put([5, 6, 7, 8], long)
    assert cache.find([5, 6, 7]) == (2, short)
    assert cache.find([5, 6, 7, 8, 9]) == (4, long)
    assert cache.find([5]) == (0, None)
    assert cache.find([6, 5]) == (0, None)
    assert cache.find([]) == (0, None)


def test_a_whole_prompt_that_is_known_is_its_own_prefix() -> None:
    cache = PrefixCache(10**6)
    kept = state(1)
    cache.put([5], kept)
    assert cache.find([5]) == (1, kept)


def test_what_was_found_last_outlives_what_was_only_kept() -> None:
    one = size_of([1], state())
    cache = PrefixCache(2 * one)
    cache.put([1], state(1))
    cache.put([2], state(2))
    assert cache.find([1])[0] == 1
    cache.put([3], state(3))
    assert [cache.find([word])[0] for word in (1, 2, 3)] == [1, 0, 1]


def test_a_prompt_that_is_kept_again_is_counted_once_and_gives_its_newest_state() -> None:
    cache = PrefixCache(10**6)
    newest = state(2)
    cache.put([1, 2], state(1))
    before = cache.bytes
    cache.put([1, 2], newest)
    assert cache.bytes == before
    assert cache.find([1, 2]) == (2, newest)


def test_a_state_that_is_larger_than_all_of_it_is_not_kept_and_drives_nothing_out() -> None:
    cache = PrefixCache(size_of([1], state()))
    cache.put([1], state(1))
    cache.put([2], state(2, hidden=1000))
    assert [cache.find([word])[0] for word in (1, 2)] == [1, 0]


def test_without_memory_it_is_off_and_keeps_nothing() -> None:
    cache = PrefixCache(0)
    cache.put([1], state())
    assert not cache.on
    assert cache.bytes == 0
    assert cache.find([1]) == (0, None)
    assert PrefixCache(1).on


def test_the_bytes_are_no_fewer_than_those_of_words_and_numbers() -> None:
    assert size_of([1] * 100, state(hidden=1000)) >= 100 * 4 + 1000 * 4


def test_words_of_one_hash_are_never_taken_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "_chain", lambda ids: [7] * len(ids))
    cache = PrefixCache(10**6)
    cache.put([1, 2], state(1))
    assert cache.find([1, 3]) == (0, None)
    assert cache.find([2]) == (0, None)
    assert cache.find([1, 2])[0] == 2
    before = cache.bytes
    cache.put([3, 4], state(2))
    assert cache.bytes == before
    assert cache.find([1, 2]) == (0, None)
