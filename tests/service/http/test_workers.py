"""service.http.workers: several processes on one port count together, and one that dies takes nobody else with it."""

import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import httpx2
import pytest

from service.http.listener import LISTENERS
from service.version import VERSION
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version, flip_byte
from tests.service.http.wire import send
from tests.service.process import Process, eventually, run, running, sample

ADMIN = "key-of-the-operator"


@pytest.fixture
def models(service_models: Path, tmp_path: Path) -> Path:
    for version in (1, 2):
        copy_version(service_models, ENDLESS, tmp_path / "models", version)
    return tmp_path / "models"


@pytest.fixture
def several(models: Path) -> Iterator[Process]:
    with running(models=models, generate_model=ENDLESS, workers=3, admin_keys=ADMIN) as process:
        eventually(lambda: process.client.get("/readyz").status_code == 200)
        yield process


def workers(process: Process) -> list[int]:
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def listening(process: Process) -> int:
    """Sockets on which somebody is waited for; sockets of workers that are beginning are not among them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == process.port for row in rows)


def ask(process: Process, **parameters: object) -> httpx2.Response:
    """Over a connection of its own, which any worker may take."""
    body = {"inputs": "오늘", "parameters": {"max_new_tokens": 3, **parameters}}
    return httpx2.post(f"http://127.0.0.1:{process.port}/generate", json=body, timeout=60)


def test_whichever_is_asked_tells_the_totals_of_all(several: Process) -> None:
    assert all(ask(several).status_code == 200 for _ in range(30))
    eventually(lambda: several.metric("seqserve_requests_total", route="/generate") == 30)  # counted when it is written
    for _ in range(5):
        text = httpx2.get(f"http://127.0.0.1:{several.port}/metrics").text
        lines = text.splitlines()
        assert sample(text, "seqserve_requests_total", route="/generate", model=ENDLESS, status="200", outcome="answer") == 30
        assert sample(text, "seqserve_build_info", version=VERSION) == 1
        assert f'seqserve_inputs_total{{model="{ENDLESS}",outcome="answer"}} 30.0' in lines
        assert f'seqserve_rows_in_use{{model="{ENDLESS}"}} 0.0' in lines
        assert f'seqserve_model_info{{model="{ENDLESS}",task="generate",version="2"}} 1.0' in lines


def test_one_that_has_only_begun_to_write_what_it_counts_hides_nothing(several: Process) -> None:
    environment = Path(f"/proc/{workers(several)[0]}/environ").read_bytes().split(b"\0")
    (folder,) = [Path(line.partition(b"=")[2].decode()) for line in environment if line.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
    (folder / "counter_999999.db").touch()
    assert ask(several).status_code == 200
    eventually(lambda: several.metric("seqserve_requests_total", route="/generate") == 1)  # counted when it is written


def test_what_the_processes_use_is_told_of_all_and_never_falls(several: Process) -> None:
    """Not of the worker that happens to be asked; and processor time that was used stays used when a worker has ended."""

    def told(name: str) -> float:
        return sample(httpx2.get(f"http://127.0.0.1:{several.port}/metrics").text, f"process_{name}")

    def resident(pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def is_of_all() -> bool:
        return told("resident_memory_bytes") == pytest.approx(sum(map(resident, (several.popen.pid, *workers(several)))), rel=0.05)

    eventually(is_of_all)  # once all have started
    assert told("open_fds") > 3 * 10
    before, seconds = workers(several), told("cpu_seconds_total")
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: before[0] not in workers(several) and ask(several).status_code == 200)
    assert told("cpu_seconds_total") >= seconds > 0


def test_when_the_one_that_looks_after_them_is_killed_they_end_too(several: Process) -> None:
    pids = workers(several)
    several.popen.kill()
    several.popen.wait(10)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_one_that_is_killed_comes_back_and_no_request_of_the_others_fails(several: Process) -> None:
    before, stop, statuses = workers(several), threading.Event(), []
    parameters = {"max_new_tokens": 20}

    def load() -> None:
        while not stop.is_set():
            try:
                statuses.append(ask(several, **parameters).status_code)
            except httpx2.TransportError:
                statuses.append(0)  # it was the killed one's

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) > 20 and ask(several).status_code == 200)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(workers(several)) == 3 and before[0] not in workers(several) and bool(ask(several)))
    stop.set()
    for thread in threads:
        thread.join(60)
    assert set(statuses) <= {200, 0}
    assert statuses.count(0) <= len(threads)  # at most what each had asked of it at that moment
    eventually(lambda: several.metric("seqserve_rows_in_use", model=ENDLESS) == 0)


def test_who_connects_is_not_kept_waiting_for_one_that_dies_again_and_again(several: Process) -> None:
    """The first time its successor answers who waits, for it comes at once."""
    eventually(lambda: listening(several) == 3)
    victim = workers(several)[0]
    for _ in range(2):
        others = set(workers(several)) - {victim}
        os.kill(victim, signal.SIGKILL)
        eventually(lambda others=others, victim=victim: bool(set(workers(several)) - others - {victim}))  # type: ignore[misc]
        [victim] = set(workers(several)) - others - {victim}
    os.kill(victim, signal.SIGSTOP)  # it would take long to begin
    began_s = monotonic()
    assert all(ask(several).status_code == 200 for _ in range(30))
    assert monotonic() - began_s < 10
    os.kill(victim, signal.SIGCONT)


def serves(pid: int) -> bool:
    """It takes connections from many descriptors of its listener; before that it has few."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir())) > LISTENERS
    except OSError:  # it has just ended
        return False


def all_serve(process: Process, count: int) -> bool:
    pids = workers(process)
    return len(pids) == count and all(map(serves, pids)) and listening(process) == count


def answered_by_the_next(process: Process) -> list[int]:
    """The statuses for many who connect while all workers stand still, which then are killed."""
    found: list[int] = []
    pids = workers(process)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    waiting = [waiting_client(process) for _ in range(8)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for connection in waiting:
        with connection:
            found.append(int(connection.recv(65536).split()[1]))
    return found


def waiting_client(process: Process) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", process.port), timeout=30)
    send(connection, {"inputs": "오늘", "parameters": {"max_new_tokens": 3}})
    return connection


def test_who_has_connected_to_one_that_dies_is_answered_by_the_next(several: Process) -> None:
    eventually(lambda: all_serve(several, 3))
    assert answered_by_the_next(several) == [200] * 8


def short(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Processes that are started from now on take another time for short."""
    start = (
        f"import sys, service.http.workers as workers, service.__main__ as main; workers.SHORT_S = {seconds}; sys.exit(main.main())"
    )
    monkeypatch.setattr("tests.service.process.START", [sys.executable, "-c", start])


def test_what_it_died_of_long_ago_is_forgotten(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has connected to one that has lived for long is answered by the next, though one before it did not live for long."""
    short(monkeypatch, 0.3)
    with running(models=models, generate_model=ENDLESS, workers=2) as process:
        eventually(lambda: all_serve(process, 2))
        first, other = workers(process)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: bool(set(workers(process)) - {first, other}))
        (second,) = set(workers(process)) - {first, other}
        os.kill(second, signal.SIGKILL)
        eventually(lambda: all_serve(process, 2))
        assert answered_by_the_next(process) == [200] * 8


def log_line(process: Process, words: str) -> bool:
    """Waits for a line of the log with these words; False where it ends before."""
    assert process.popen.stderr is not None
    return any(words in line for line in process.popen.stderr)


def test_settings_that_were_good_once_and_cannot_be_had_for_a_while_end_nobody(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch, 0.3)
    with running(models=models, generate_model=ENDLESS, workers=2) as process:
        eventually(lambda: all_serve(process, 2))
        models.rename(models.with_name("away"))
        victim, other = workers(process)
        os.kill(victim, signal.SIGKILL)
        assert log_line(process, "ended with 2")
        models.with_name("away").rename(models)
        eventually(lambda: all_serve(process, 2) and other in workers(process))
        assert {ask(process).status_code for _ in range(10)} == {200}


def test_settings_that_cannot_be_had_end_all_though_that_takes_long_to_find_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch, 0.001)
    ended = run(models=tmp_path / "nothing", workers=2)
    assert ended.returncode == 2
    assert "another one begins" not in ended.stderr


def test_where_no_more_files_may_be_opened_it_is_tried_again_until_they_may(several: Process) -> None:
    eventually(lambda: all_serve(several, 3))
    before = set(workers(several))
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: bool(set(workers(several)) - before))
    (second,) = set(workers(several)) - before
    limits = resource.prlimit(several.popen.pid, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.kill(second, signal.SIGKILL)
    assert log_line(several, "no other listener can be had: Too many open files")
    for _ in range(2):
        assert log_line(several, "no worker can begin: Too many open files")
    resource.prlimit(several.popen.pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: all_serve(several, 3))
    assert {ask(several).status_code for _ in range(10)} == {200}


def test_what_one_is_told_to_serve_all_serve(several: Process) -> None:
    header = {"authorization": f"Bearer {ADMIN}"}
    assert several.client.post(f"/models/{ENDLESS}/pin", json={"version": 1}, headers=header).json()["serving"] == 1
    eventually(lambda: {ask(several).headers["x-model"] for _ in range(12)} == {f"{ENDLESS}/1"})


def test_a_state_goes_on_at_any_of_them(several: Process) -> None:
    whole = ask(several, max_new_tokens=12).json()["generated_text"]
    first = ask(several, max_new_tokens=6, return_state=True).json()
    for _ in range(6):
        body = {"inputs": "", "state": first["state"], "parameters": {"max_new_tokens": 6}}
        rest = httpx2.post(f"http://127.0.0.1:{several.port}/generate", json=body).json()
        assert first["generated_text"] + rest["generated_text"] == whole


def cut_off(process: Process) -> None:
    with pytest.raises(httpx2.TransportError):
        ask(process, max_new_tokens=10**8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_all_answer_what_runs_and_end_well(number: signal.Signals, models: Path) -> None:
    with running(models=models, generate_model=ENDLESS, workers=2, max_new_tokens=6000) as process:
        eventually(lambda: process.client.get("/readyz").status_code == 200)
        found: list[httpx2.Response] = []
        threads = [threading.Thread(target=lambda: found.append(ask(process, max_new_tokens=6000))) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: process.metric("seqserve_rows_in_use", model=ENDLESS) == 4)
        code, log = process.stop(number)
        for thread in threads:
            thread.join(60)
    assert [len(response.json()["generated_text"].split()) for response in found] == [6000] * 4
    assert code == 0
    assert "Traceback" not in log, log.replace("\\n", "\n")


def test_told_twice_all_end_at_once(models: Path) -> None:
    with running(models=models, generate_model=ENDLESS, workers=2, max_new_tokens=10**8, max_answer_tokens=10**9) as process:
        eventually(lambda: process.client.get("/readyz").status_code == 200)
        pids = workers(process)
        thread = threading.Thread(target=cut_off, args=(process,))
        thread.start()
        eventually(lambda: process.metric("seqserve_rows_in_use", model=ENDLESS) == 1)
        process.popen.send_signal(signal.SIGTERM)
        process.popen.send_signal(signal.SIGTERM)
        while process.popen.poll() is None:
            process.popen.send_signal(signal.SIGTERM)
        thread.join(60)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_settings_that_cannot_be_had_end_all_with_2_and_not_again_and_again(models: Path, tmp_path: Path) -> None:
    ended = run(models=tmp_path / "nothing", workers=3)
    assert ended.returncode == 2
    assert "there is no such folder" in ended.stderr


def test_a_port_that_is_taken_is_told(several: Process, models: Path) -> None:
    ended = run(models=models, workers=2, port=several.port)
    assert ended.returncode == 2
    assert "address already in use" in ended.stderr


def test_a_new_version_that_is_bad_is_refused_by_all_and_told_once(several: Process, models: Path, service_models: Path) -> None:
    flip_byte(copy_version(service_models, ENDLESS, models, 3) / "model.onnx")
    header = {"authorization": f"Bearer {ADMIN}"}
    assert several.client.post(f"/models/{ENDLESS}/pin", json={"version": 3}, headers=header).status_code == 422
    assert {ask(several).headers["x-model"] for _ in range(9)} == {f"{ENDLESS}/2"}
    assert several.metric("seqserve_refused_models") == 1
