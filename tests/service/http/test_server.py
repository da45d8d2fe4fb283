"""service.http.server: told to stop, what runs is answered, what comes is refused, and nothing is waited for for ever."""

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.conftest import ENDLESS
from tests.service.process import Process, running

WORDS = 20_000


def long(process: Process, pool: ThreadPoolExecutor, words: int = WORDS) -> "Future[httpx2.Response]":
    """A request that is being answered, and takes seconds."""
    body = {"inputs": "오늘", "parameters": {"max_new_tokens": words, "seed": 1, "do_sample": True}}
    asked = pool.submit(process.client.post, "/generate", json=body)
    while not process.metric("seqserve_rows_in_use", model=ENDLESS):
        assert not asked.done(), "it was answered before it could be interrupted"
    return asked


def service(models: Path, **settings: Any) -> Any:
    return running(models=models, generate_model=ENDLESS, max_new_tokens=10**8, max_answer_tokens=10**9, **settings)


def test_told_to_stop_it_is_not_ready_at_once_refuses_what_comes_and_answers_what_runs(service_models: Path) -> None:
    with service(service_models) as process, ThreadPoolExecutor() as pool:
        asked = long(process, pool)
        process.popen.send_signal(signal.SIGTERM)
        while (ready := process.client.get("/readyz")).status_code == 200:
            pass
        assert not asked.done()
        assert ready.status_code == 503
        assert "shutting down" in ready.json()["error"]
        assert process.client.get("/livez").status_code == 200
        assert process.client.get("/metrics").status_code == 200
        late = process.client.post("/generate", json={"inputs": "오늘"})
        assert (late.status_code, late.json()["error_type"]) == (503, "unavailable")
        assert late.headers["connection"] == "close"
        assert len(asked.result(60).json()["generated_text"].split()) == WORDS
        _, log = process.popen.communicate(timeout=60)
    assert process.popen.returncode == 0
    assert "Traceback" not in log


def test_what_runs_for_longer_than_it_may_ends_with_a_status_of_its_own(service_models: Path) -> None:
    with service(service_models, drain_s=0.3) as process, ThreadPoolExecutor() as pool:
        asked = long(process, pool, 10**8)
        code, log = process.stop()
        response = asked.result(60)
    assert (response.status_code, response.json()["error_type"]) == (503, "unavailable")
    assert code == 0
    assert "SEQSERVE_DRAIN_S" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_twice_it_ends_at_once(number: signal.Signals, service_models: Path) -> None:
    with service(service_models) as process, ThreadPoolExecutor() as pool:
        asked = long(process, pool, 10**8)
        process.popen.send_signal(number)
        while process.client.get("/readyz").status_code == 200:
            pass
        process.popen.send_signal(number)
        assert process.popen.wait(5) == -number
        with pytest.raises(httpx2.TransportError):
            asked.result(60)


def test_with_nothing_to_do_it_ends_at_once(service_models: Path) -> None:
    with service(service_models) as process:
        assert process.client.get("/readyz").status_code == 200
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(5) == 0
