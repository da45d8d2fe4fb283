"""What became of every request of a load, and what that comes to. Knows no HTTP.

A latency counts from when a request was due, not from when it was sent: a client that is held up holds up the others' measurement,
and would hide what it is to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.soak.numbers import share_ms

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

ANSWERED, REFUSED = 200, 429
# What stands in place of a status.
LEFT, RESET, CLOSED, UNANSWERED, NOT_CONNECTED, ANOTHER_ANSWER, BROKEN_STREAM = range(1, 8)
FAULTS = {
    RESET: "the connection was reset",
    CLOSED: "the connection was closed without an answer",
    UNANSWERED: "no answer came",
    NOT_CONNECTED: "no connection could be had",
    ANOTHER_ANSWER: "the same question got another answer",
    BROKEN_STREAM: "a stream ended with an error",
}


@dataclass(frozen=True)
class Records:
    """One request a place (N); times are monotonic seconds. sent_s and ended_s are nan where it came to neither.

    status: that of the answer, or what stands in its place; retry: whether it said when to come again; kind: an index into kinds.
    samples: by status, what the first such answer said.
    """

    kinds: Sequence[str]
    kind: NDArray[np.int16]
    due_s: Array
    sent_s: Array
    ended_s: Array
    status: NDArray[np.int16]
    retry: Flags
    samples: dict[int, str]

    def where(self, chosen: Flags) -> "Records":
        """These requests alone."""
        names = ("kind", "due_s", "sent_s", "ended_s", "status", "retry")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def due_within(self, windows: Sequence[tuple[float, float]]) -> "Records":
        """Those that were due in any of the windows (begin, end), monotonic seconds."""
        inside = np.zeros(len(self), bool)
        for begin_s, end_s in windows:
            inside |= (self.due_s >= begin_s) & (self.due_s < end_s)
        return self.where(inside)

    def of(self, *kinds: str) -> "Records":
        return self.where(np.isin(self.kind, [self.kinds.index(kind) for kind in kinds]))

    def __len__(self) -> int:
        return len(self.due_s)

    @property
    def answered(self) -> "Records":
        return self.where(self.status == ANSWERED)

    @property
    def refused(self) -> "Records":
        return self.where(self.status == REFUSED)

    @property
    def left(self) -> "Records":
        return self.where(self.status == LEFT)

    @property
    def failed(self) -> "Records":
        return self.where(~np.isin(self.status, (ANSWERED, REFUSED, LEFT)))

    @property
    def latencies_ms(self) -> Array:
        return (self.ended_s - self.due_s) * 1000

    @property
    def p50_ms(self) -> float | None:
        """Of those that were answered."""
        return share_ms(self.answered.latencies_ms, 0.5)

    @property
    def p99_ms(self) -> float | None:
        """Of those that were answered."""
        return share_ms(self.answered.latencies_ms, 0.99)

    @property
    def lag_p99_ms(self) -> float | None:
        """How much later than due requests were sent: what of a latency is the load generator's own."""
        return share_ms((self.sent_s - self.due_s)[~np.isnan(self.sent_s)] * 1000, 0.99)

    def faults(self) -> str:
        """What went wrong, and how often; empty where nothing did."""
        statuses, counts = np.unique(self.failed.status, return_counts=True)
        told = []
        for status, count in zip(statuses.tolist(), counts.tolist(), strict=True):
            what = FAULTS.get(status, f"status {status}")
            told.append(f"{count} x {what}{f' ({said})' if (said := self.samples.get(status)) else ''}")
        return "; ".join(told)
