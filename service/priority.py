"""Who has the processor first where several threads want it. Knows no work."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

MODELS = 2  # of the 19 that nice has. More, and what is read is not answered
LOADING = 10  # what is loaded while others are answered


def give_way(by: int) -> None:
    """This thread, and what it starts, lets others have the processor first, for good.

    Only where that is known to mean the thread alone, and where it may be asked for.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + by)


def behind(by: int, work: Callable[[], T]) -> T:
    """What work gives, or raises, done by a thread that gives way: no thread may take back what it gave."""
    done = Future[T]()

    def run() -> None:
        give_way(by)
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="seqserve-loading", daemon=True).start()
    return done.result()
