"""service.http.drain: at the end nobody else is answered, and nothing is done that would serve nobody."""

import pytest

from service.errors import Unavailable
from service.http.drain import Drain


def test_who_comes_too_late_is_told_to_ask_again() -> None:
    drain = Drain()
    drain.check()
    drain.begin()
    with pytest.raises(Unavailable, match="the service is shutting down; ask again, and another one answers"):
        drain.check()


def test_work_is_done_until_the_end_begins() -> None:
    drain, done = Drain(), list[int]()
    work = drain.until_begun(lambda: done.append(1))
    work()
    work()
    drain.begin()
    work()
    assert done == [1, 1]
