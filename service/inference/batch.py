"""The rows that step together, and their state as one. Owns which row is whose; knows neither words nor requests.

The state stays as the last step left it, on the device that computed it; only where rows come or go is it put together anew.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from service.inference.runtime import Array, Held, Ids, Runtime, State, host, select, stack

S = TypeVar("S")


class Batch(Generic[S]):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.rows: list[S] = []
        self._places: dict[S, int] = {}
        self._state: Held = ()
        self._fetched: State | None = None
        self._ones = np.ones(0, np.int32)

    def arrange(self, rows: list[S], joining: Callable[[S], State]) -> None:
        """Makes these the rows, in an order of its own; joining: the state (layers, 1, hidden) of one that was not among them."""
        new = [row for row in rows if row not in self._places]
        if not new and len(rows) == len(self.rows):
            return
        wanted = set(rows)
        free = [place for place, row in enumerate(self.rows) if row not in wanted]
        states = [joining(row) for row in new]
        if free and len(free) == len(new):
            self._replace(free, new, states)
            return
        kept = [row for row in self.rows if row in wanted]
        if kept:
            states.insert(0, select(self._state_now, [self._places[row] for row in kept]) if free else self._state_now)
        self._hold(kept + new, stack(states))

    def __contains__(self, row: object) -> bool:
        return row in self._places

    def clear(self) -> None:
        """Holds on to nothing."""
        self._hold([], ())

    def row(self, row: S) -> State:
        """A copy of one row's state."""
        return select(self._state_now, [self._places[row]])

    def step(self, words: Ids, wanted: Ids) -> Array:
        """Feeds every row a word (B); the logits (K, V) of what follows in the wanted rows (K)."""
        if len(words) != len(self._ones):
            self._ones = np.ones(len(words), np.int32)
        logits, state = self._runtime.step(words[:, None], self._ones, self._state, wanted)
        self._state, self._fetched = state, None
        return logits

    def _replace(self, places: list[int], rows: list[S], states: list[State]) -> None:
        """As many come as go, the usual case under load: they take the places of those."""
        now = self._state_now
        for place, row, state in zip(places, rows, states, strict=True):
            for whole, part in zip(now, state, strict=True):
                whole[:, place] = part[:, 0]
            del self._places[self.rows[place]]
            self.rows[place], self._places[row] = row, place
        self._state = now

    @property
    def _state_now(self) -> State:
        if self._fetched is None:
            self._fetched = host(self._state)
        return self._fetched

    def _hold(self, rows: list[S], state: Held) -> None:
        self.rows, self._state, self._fetched = rows, state, None
        self._places = {row: place for place, row in enumerate(rows)}
