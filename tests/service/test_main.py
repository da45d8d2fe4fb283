"""`python -m service`: starts, stops as it is told, and says in one line why it cannot."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import onnxruntime as ort
import pytest

from service.settings import Settings
from tests.conftest import ROOT
from tests.service.conftest import ENDLESS
from tests.service.http.ask import events, written
from tests.service.process import START, Process, command, environment, run, running

NO_CUDA = pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="needs an onnxruntime without CUDA")


def test_it_answers_on_the_port_that_it_says(server: Process) -> None:
    assert server.client.get("/readyz").json() == {"status": "ready"}
    answer = server.client.post("/generate", json={"inputs": "오늘", "parameters": {"max_new_tokens": 3}}).json()
    assert len(answer["generated_text"].split()) == 3


def test_it_says_nothing_of_the_server_software(server: Process) -> None:
    assert "server" not in server.client.get("/livez").headers


def test_it_does_not_log_what_people_write(service_models: Path) -> None:
    with running(models=service_models, generate_model=ENDLESS, log_level="debug") as process:
        for body in ({"inputs": "비밀 secret"}, {"inputs": "비밀 secret", "secret": 1}):
            process.client.post("/generate", json=body)
        _, log = process.stop()
    assert "secret" not in log
    assert "비밀" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_what_is_running_takes_nothing_more_and_ends_well(
    number: signal.Signals, service_models: Path
) -> None:
    words = 6000
    body = {"inputs": "오늘", "parameters": {"max_new_tokens": words, "seed": 1, "do_sample": True}}
    with running(models=service_models, generate_model=ENDLESS, max_new_tokens=words) as process, ThreadPoolExecutor() as pool:
        long = pool.submit(process.client.post, "/generate", json=body)
        while not process.metric("seqserve_rows_in_use", model=ENDLESS):
            assert not long.done(), "it was answered before it could be interrupted"
        code, log = process.stop(number)
        response = long.result()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"http://127.0.0.1:{process.port}/livez")
    assert response.status_code == 200
    assert len(response.json()["generated_text"].split()) == words
    assert "Traceback" not in log
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_the_stream_that_is_running_and_not_before_its_last_word(
    number: signal.Signals, service_models: Path
) -> None:
    words = 6000
    body = {"inputs": "오늘", "parameters": {"max_new_tokens": words, "seed": 1, "do_sample": True}}
    with running(models=service_models, generate_model=ENDLESS, max_new_tokens=words) as process:
        with process.client.stream("POST", "/generate_stream", json=body) as response:
            parts = response.iter_raw()
            content = next(parts)
            process.popen.send_signal(number)
            content += b"".join(parts)
        _, log = process.popen.communicate(timeout=60)
    told = events(content)
    assert len(told) == words
    assert written(told) == told[-1]["generated_text"]
    assert process.popen.returncode == 0
    assert "Traceback" not in log


def test_a_text_goes_on_after_a_restart_with_the_same_key(service_models: Path) -> None:
    parameters = {"max_new_tokens": 6, "return_state": True}
    texts, state = [], None
    for _ in range(2):
        with running(models=service_models, generate_model=ENDLESS, state_key="the same after a restart") as process:
            whole = process.client.post("/generate", json={"inputs": "오늘", "parameters": {"max_new_tokens": 12}}).json()
            body = {"inputs": "" if state else "오늘", "parameters": parameters} | ({"state": state} if state else {})
            answer = process.client.post("/generate", json=body).json()
            texts.append(answer["generated_text"])
            state = answer["state"]
    assert "".join(texts) == whole["generated_text"]


def test_a_key_that_is_too_short_ends_it_with_2_and_one_line_that_does_not_show_it() -> None:
    ended = run(state_key="hush-hush")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: SEQSERVE_STATE_KEY: ")
    assert ended.stderr.count("\n") == 1
    assert "hush" not in ended.stderr + ended.stdout


def test_two_settings_that_are_wrong_end_it_with_2_and_two_lines() -> None:
    ended = run(max_rows=-1, prot=8000)
    assert ended.returncode == 2
    assert [line.split()[1] for line in ended.stderr.splitlines()] == ["SEQSERVE_PROT", "SEQSERVE_MAX_ROWS=-1:"]


def test_a_models_folder_that_is_missing_ends_it_with_2_and_one_line() -> None:
    ended = run(models="/nothing/there")
    assert ended.returncode == 2
    assert ended.stderr == "error: SEQSERVE_MODELS=/nothing/there: there is no such folder\n"
    assert ended.stdout == ""


@NO_CUDA
def test_cuda_without_cuda_ends_it_with_2_and_one_line_that_says_what_to_do(service_models: Path) -> None:
    ended = run(models=service_models, provider="cuda")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: SEQSERVE_PROVIDER=cuda, but the installed onnxruntime ")
    assert "requirements-cuda.lock" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_ends_it_with_a_line_that_says_so(server: Process, service_models: Path) -> None:
    ended = run(models=service_models, port=server.port)
    assert ended.returncode not in (0, -signal.SIGTERM)
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_told_to_stop_while_it_loads_it_ends_well(service_models: Path) -> None:
    """Where it is the first process of a container it would not hear of it otherwise, and be killed much later."""
    with subprocess.Popen(
        START, cwd=ROOT, env=environment(port=0, models=service_models), stderr=subprocess.PIPE, text=True
    ) as popen:
        assert popen.stderr is not None
        assert "serving" in popen.stderr.readline()  # the first of several
        popen.terminate()
        assert popen.wait(30) == 0
        assert "Traceback" not in popen.stderr.read()


def test_help_tells_every_setting_with_its_variable() -> None:
    told = command("--help")
    assert told.returncode == 0
    for name, field in Settings.model_fields.items():
        assert f"SEQSERVE_{name.upper()} ({field.default}): {field.description}" in told.stdout
    assert "--lifeline" not in told.stdout  # what processes tell one another


def test_a_command_that_there_is_not_ends_it_with_2() -> None:
    ended = command("serve-it")
    assert ended.returncode == 2
    assert "invalid choice" in ended.stderr
