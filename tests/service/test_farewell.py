"""service.farewell and service.allocator: a version that was replaced answers what it had accepted, and takes no memory then."""

import ctypes
import gc
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

from service.errors import Replaced
from service.farewell import Farewell
from service.inference.generator import Generator
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.inference.ticket import Ticket
from service.metrics import Metrics
from service.model import Model, open_model
from service.settings import Settings
from tests.conftest import ROOT

NAME = "lstm1-generate"


def opened(small_models: Path) -> Model:
    """A fixture would hold on to it."""
    return open_model(small_models / NAME / "1", Settings(models=small_models), Metrics())


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
