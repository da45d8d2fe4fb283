"""The states after prompts that were read already, so that typing on costs one step a word. Owns the bound; knows no batches.

A prefix is found by a hash that is carried from word to word, and compared word by word before it is believed.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from service.inference.runtime import State

_ENTRY_BYTES = 650  # of an entry beside its words and numbers: measured


class _Entry(NamedTuple):
    words: bytes
    state: State
    size: int


class PrefixCache:
    """The states that were used last, up to max_bytes. For one thread, and one model: states say nothing to another."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self.bytes = 0

    @property
    def on(self) -> bool:
        return self._max_bytes > 0

    def find(self, ids: Sequence[int]) -> tuple[int, State | None]:
        """The longest prefix of ids whose state is known: how many words, and the state after them."""
        if not self._entries:
            return 0, None
        words, chain = array("i", ids).tobytes(), _chain(ids)
        for count in range(len(ids), 0, -1):
            entry = self._entries.get(chain[count - 1])
            if entry is not None and entry.words == words[: 4 * count]:
                self._entries.move_to_end(chain[count - 1])
                return count, entry.state
        return 0, None

    def put(self, ids: Sequence[int], state: State) -> None:
        """Keeps the state after ids, which nobody changes any more; the least recently used ones give way."""
        words, key = array("i", ids).tobytes(), _chain(ids)[-1]
        size = len(words) + sum(part.nbytes for part in state) + _ENTRY_BYTES
        if size > self._max_bytes:
            return
        if (old := self._entries.pop(key, None)) is not None:
            self.bytes -= old.size
        self._entries[key] = _Entry(words, state, size)
        self.bytes += size
        while self.bytes > self._max_bytes:
            self.bytes -= self._entries.popitem(last=False)[1].size


def _chain(ids: Sequence[int]) -> list[int]:
    """A hash of every prefix of ids, from one word to all."""
    chain, last = [], 0
    for word in ids:
        last = hash((last, word))
        chain.append(last)
    return chain
