"""What there is to tell of a request when it is over: to the metrics, the log and the traces. Filled in by whoever knows."""

import time
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.types import Scope

from service.inference.ticket import Ticket

ANSWER, LEFT = "answer", "left"  # outcomes; others are the types of errors

_RECORD = "seqserve.record"  # in the scope


@dataclass(slots=True)
class Record:
    """One request. model is "" until one is found, encode_s 0 until its texts are ids, ticket None until they are accepted."""

    id: str
    began_s: float = field(default_factory=time.monotonic)
    model: str = ""
    encode_began_s: float = 0.0
    encode_s: float = 0.0
    ticket: Ticket[Any] | None = None
    status: int = 0
    outcome: str = ANSWER

    @property
    def total_s(self) -> float:
        """Seconds since its first byte."""
        return time.monotonic() - self.began_s


def open_record(scope: Scope, request_id: str) -> Record:
    """A new one, which belongs to the request of this scope."""
    record = scope[_RECORD] = Record(request_id)
    return record


def record_of(scope: Scope) -> Record:
    return cast(Record, scope[_RECORD])
