"""What a request is called in its answer, the log and the traces: as its client calls it, or by a number that nobody else has."""

import itertools
import re
import secrets

from starlette.types import Scope

from service.http.exchange import header

_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Those of one process."""

    def __init__(self) -> None:
        # No secret, only different from all others: asking the system for randomness each time can cost more than the model.
        self._process, self._number = secrets.token_hex(8), itertools.count(1)

    def of(self, scope: Scope) -> str:
        """The client's own, where it sent one that can be written anywhere, else a new one."""
        given = header(scope, b"x-request-id")
        if given is not None and _GIVEN.fullmatch(given):
            return given.decode()
        return f"{self._process}{next(self._number):012x}"
