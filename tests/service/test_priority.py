"""service.priority: threads that give way, and only they."""

import os
import sys
import threading

import pytest

from service.priority import behind, give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no thread gives way")


def own() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_is_done_by_a_thread_that_gives_way_and_the_caller_stays_as_it_was() -> None:
    before = own()
    assert behind(3, own) == before + 3
    assert own() == before


def test_what_work_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        behind(3, fail)


def test_what_may_not_be_asked_for_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    give_way(3)
