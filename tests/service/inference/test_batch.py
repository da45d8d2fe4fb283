"""service.inference.batch: rows come and go, and each keeps its own state to the bit."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import load
from service.inference.batch import Batch
from service.inference.runtime import Array, Held, Runtime, State, host
from tests.conftest import GENERATORS


class Named:
    """A row: nothing but itself."""


@pytest.fixture(scope="module", params=[small.name for small in GENERATORS])
def both(request: Any, small_models: Path) -> tuple[Runtime, Runtime]:
    """A model, with its state in arrays and bound to where it is computed."""
    artifact = load(small_models / request.param / "1")
    return Runtime(artifact, bound=False), Runtime(artifact, bound=True)


@pytest.fixture(params=[False, True], ids=["arrays", "bound"])
def runtime(request: Any, both: tuple[Runtime, Runtime]) -> Runtime:
    return both[request.param]


def nobody(_: object) -> State:
    raise AssertionError("nobody joins")


def beginning(runtime: Runtime) -> Callable[[object], State]:
    return lambda _: runtime.initial_state(1)


def step_alone(runtime: Runtime, word: int, state: Held) -> tuple[Array, State]:
    logits, after = runtime.step(np.array([[word]]), np.ones(1, np.int32), state)
    return logits[0], host(after)


def same(one: State, other: State) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


ROUNDS = st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=12)


@settings(deadline=None, max_examples=30)
@given(rounds=ROUNDS, data=st.data())
def test_every_row_steps_as_if_it_were_alone_whoever_joins_and_leaves(
    both: tuple[Runtime, Runtime], rounds: list[set[int]], data: st.DataObject
) -> None:
    for runtime in both:
        batch: Batch[int] = Batch(runtime)
        zeros = runtime.initial_state(1)
        kept = dict.fromkeys(range(7), zeros)  # every row's state, by itself
        for present in rounds:
            batch.arrange(data.draw(st.permutations(sorted(present))), kept.__getitem__)
            assert set(batch.rows) == present
            wanted = data.draw(st.lists(st.sampled_from(range(len(batch.rows))), unique=True))
            logits = batch.step(np.array([3 + row for row in batch.rows], np.int64), np.array(wanted, np.int64))
            for row in batch.rows:
                expected, kept[row] = step_alone(runtime, 3 + row, kept[row])
                if batch.rows.index(row) in wanted:
                    assert np.array_equal(logits[wanted.index(batch.rows.index(row))], expected)
                assert same(batch.row(row), kept[row])
        assert not any(part.any() for part in zeros)


@settings(deadline=None, max_examples=15)
@given(rounds=ROUNDS)
def test_bound_or_not_the_answers_have_the_same_bits(both: tuple[Runtime, Runtime], rounds: list[set[int]]) -> None:
    batches: list[Batch[int]] = [Batch(runtime) for runtime in both]
    for present in rounds:
        logits = []
        for batch, runtime in zip(batches, both, strict=True):
            batch.arrange(sorted(present), beginning(runtime))
            logits.append(batch.step(np.array([3 + row for row in batch.rows], np.int64), np.arange(len(present))))
        assert np.array_equal(logits[0], logits[1])


def test_the_state_stays_where_it_is_while_the_rows_are_the_same(both: tuple[Runtime, Runtime]) -> None:
    batch: Batch[str] = Batch(both[1])
    batch.arrange(["a", "b"], beginning(both[1]))
    for _ in range(3):
        batch.step(np.array([3, 4]), np.array([0, 1]))
        before = batch._state
        assert all(isinstance(part, ort.OrtValue) for part in before)
        batch.arrange(["a", "b"], nobody)
        assert batch._state is before


@settings(deadline=None, max_examples=30)
@given(rounds=ROUNDS, data=st.data())
def test_the_rows_are_those_asked_for_each_once_and_who_stays_stays_in_order(
    both: tuple[Runtime, Runtime], rounds: list[set[int]], data: st.DataObject
) -> None:
    batch: Batch[int] = Batch(both[0])
    for present in rounds:
        before = [row for row in batch.rows if row in present]
        batch.arrange(data.draw(st.permutations(sorted(present))), beginning(both[0]))
        assert sorted(batch.rows) == sorted(present)
        assert [row for row in batch.rows if row in before] == before


def test_only_who_joins_is_asked_for_a_state(runtime: Runtime) -> None:
    batch: Batch[str] = Batch(runtime)
    asked: list[str] = []

    def joining(row: str) -> State:
        asked.append(row)
        return runtime.initial_state(1)

    batch.arrange(["a", "b"], joining)
    batch.arrange(["b", "c"], joining)
    batch.arrange(["b"], joining)
    assert asked == ["a", "b", "c"]


def test_who_left_and_comes_again_brings_a_state_anew(runtime: Runtime) -> None:
    batch: Batch[str] = Batch(runtime)
    batch.arrange(["a", "b"], beginning(runtime))
    batch.step(np.array([3, 4]), np.array([0, 1]))
    batch.arrange(["b"], nobody)
    batch.arrange(["b", "a"], beginning(runtime))
    assert same(batch.row("a"), runtime.initial_state(1))


def test_a_rows_state_is_a_copy_that_later_steps_leave_alone(runtime: Runtime) -> None:
    batch: Batch[str] = Batch(runtime)
    batch.arrange(["a", "b"], beginning(runtime))
    batch.step(np.array([3, 4]), np.array([0, 1]))
    taken = batch.row("a")
    before = [part.copy() for part in taken]
    batch.step(np.array([5, 6]), np.array([0, 1]))
    assert same(taken, tuple(before))
    for part in taken:
        part[:] = 9
    assert not any((part == 9).any() for part in batch.row("a"))


def test_a_state_that_joins_is_not_written_to(runtime: Runtime) -> None:
    batch: Batch[str] = Batch(runtime)
    joined = tuple(np.full_like(part, 0.25) for part in runtime.initial_state(1))
    batch.arrange(["a"], lambda _: joined)
    batch.step(np.array([3]), np.array([0]))
    assert all((part == 0.25).all() for part in joined)


def test_a_state_that_joined_is_not_written_to_by_one_that_takes_its_place(runtime: Runtime) -> None:
    """Also before any step: the state may be the prefix cache's or a bookmark's."""
    batch: Batch[str] = Batch(runtime)
    joined = tuple(np.full_like(part, 0.25) for part in runtime.initial_state(1))
    batch.arrange(["a"], lambda _: joined)
    batch.arrange(["b"], beginning(runtime))
    assert same(batch.row("b"), runtime.initial_state(1))
    assert all((part == 0.25).all() for part in joined)


def test_after_clear_it_holds_on_to_nothing(runtime: Runtime) -> None:
    batch: Batch[Named] = Batch(runtime)
    row = Named()
    batch.arrange([row], beginning(runtime))
    batch.step(np.array([3]), np.array([0]))
    assert batch.row(row)
    watched = weakref.ref(row)
    del row
    batch.clear()
    gc.collect()
    assert watched() is None
    assert batch.rows == []
    assert batch._state == ()
    assert batch._fetched is None
