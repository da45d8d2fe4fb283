"""service.farewell and service.allocator: a version that was replaced answers what it had accepted, and takes no memory then."""

import ctypes
import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from service.errors import Replaced
from service.farewell import GLANCE_S, Farewell
from service.inference.generator import Generator
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.inference.ticket import Ticket
from service.metrics import Metrics
from service.model import Model, open_model
from service.settings import Settings
from tests.conftest import ROOT
from tests.service.conftest import ENDLESS

NAME = "lstm1-generate"


def opened(models: Path, name: str = NAME) -> Model:
    """A fixture would hold on to it."""
    return open_model(models / name / "1", Settings(models=models), Metrics())


def asked(model: Model, words: int) -> Ticket[object]:
    assert isinstance(model.worker, Generator)
    ticket: Ticket[object] = model.worker.submit(  # type: ignore[assignment]
        [Prompt(model.tokenizer.encode_prompt("오늘 날씨가").ids, [GenerationOptions(words)])]
    )
    return ticket


def test_what_it_had_accepted_is_answered_and_nothing_new_is(small_models: Path) -> None:
    model = opened(small_models)
    farewell, ticket = Farewell(30), asked(model, 50)
    farewell.see_off(model)
    farewell.wait(30)
    assert ticket.future.result(0)
    with pytest.raises(Replaced):
        asked(model, 1)


def test_it_is_nobodys_when_it_has_gone(small_models: Path) -> None:
    model = opened(small_models)
    gc.collect()
    gc.disable()  # what is freed only by the collector is freed too late
    try:
        farewell, forgotten = Farewell(30), weakref.ref(model.worker)
        farewell.see_off(model)
        del model
        farewell.wait(30)
        assert forgotten() is None
    finally:
        gc.enable()


def test_memory_is_given_back_when_who_has_it_in_hand_lets_go(small_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, alive = opened(small_models), list[bool]()
    farewell, held, forgotten = Farewell(30), [model], weakref.ref(model.worker)
    monkeypatch.setattr("service.farewell.give_back", lambda: alive.append(forgotten() is not None))
    farewell.see_off(model)
    del model
    time.sleep(0.2)
    assert alive == []
    held.clear()
    farewell.wait(30)
    assert alive == [False]


def test_who_waits_waits_no_longer_than_said(small_models: Path) -> None:
    model = opened(small_models)
    farewell, ticket = Farewell(30), asked(model, 400)
    assert isinstance(model.worker, Generator)
    farewell.see_off(model)
    began_s = time.monotonic()
    farewell.wait(0.0)
    assert time.monotonic() - began_s < 1.0
    farewell.close(0.0)
    farewell.wait(30)
    assert ticket.future.done()


def test_at_the_end_nobody_waits_any_more_for_what_has_not_gone(service_models: Path) -> None:
    model = opened(service_models, ENDLESS)
    farewell, ticket = Farewell(60), asked(model, 10**8)
    farewell.see_off(model)
    waiting = threading.Thread(target=farewell.wait, args=(60,))
    waiting.start()
    farewell.hurry()
    waiting.join(10)
    assert not waiting.is_alive()
    began_s = time.monotonic()
    farewell.wait(60)  # nor who comes later
    assert time.monotonic() - began_s < 10
    assert not ticket.future.done()  # which had time to end, and still has
    farewell.close(0.0)


def test_at_the_end_one_that_somebody_has_in_hand_is_not_waited_for(small_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.farewell.GLANCES", int(60 / GLANCE_S))
    model, farewell = opened(small_models), Farewell(60)
    others = set(threading.enumerate())
    farewell.see_off(model)
    (thread,) = (thread for thread in set(threading.enumerate()) - others if thread.name.startswith("leaving-"))
    farewell.hurry()
    thread.join(10)
    assert not thread.is_alive()
    assert model.worker  # it is still in hand


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_a_block_as_large_as_a_model_goes_back_to_the_system_however_often_one_was_freed() -> None:
    """In a process of its own, whose memory nothing else moves."""
    ended = subprocess.run([sys.executable, "-c", FREED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(float(share) > 0.9 for share in ended.stdout.split())


# After the first, glibc would keep the next ones.
FREED = """
import ctypes
from service.allocator import keep_tidy
keep_tidy()
library, size = ctypes.CDLL(None), 6 * 2**20
library.malloc.restype, library.malloc.argtypes, library.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
for _ in range(3):
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    before = resident()
    library.free(block)
    print((before - resident()) / size)
"""
