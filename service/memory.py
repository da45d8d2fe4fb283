"""Memories of what was worked out before, with a bound. Knows nothing of what is kept."""

from collections.abc import MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(memory: MutableMapping[K, V], key: K, value: V, most: int) -> V:
    """Remembers value, and returns it. With `most` entries everything is forgotten first: what is common is soon back."""
    if len(memory) >= most:
        memory.clear()
    memory[key] = value
    return value
