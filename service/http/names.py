"""What is refused, told by the names under which a client knows it. Knows no routes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import ValidationError

from service.errors import RequestError
from service.http.requests import describe


@contextmanager
def told_by(names: Mapping[str, str]) -> Iterator[None]:
    """Within it faults are told by the client's names; names: what a sentence of ours may begin with, and what it is there.

    The first that fits counts. A ValidationError of our own schemas becomes an InvalidRequest.
    """
    try:
        yield
    except ValidationError as error:
        raise _renamed(describe(error), names) from None
    except RequestError as error:
        raise _renamed(error, names) from None


def _renamed(error: RequestError, names: Mapping[str, str]) -> RequestError:
    sentence = str(error)
    for ours, theirs in names.items():
        if sentence.startswith(ours):
            error.args = (theirs + sentence.removeprefix(ours),)
            break
    return error
