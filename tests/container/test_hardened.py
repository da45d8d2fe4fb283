"""The container as a cluster runs it: without rights, without a disk to write to, and it answers."""

from pathlib import Path

import pytest

from tests.container.container import USER, Container, running, status
from tests.container.engine import EngineError
from tests.container.image import Image
from tests.service.http.ask import events, written
from tests.service.process import eventually

KEY = "a-key-of-one-client"
NO_CAPABILITY = "0" * 16
# Memory that the kernel shares between processes, and the terminal and null devices: no place of the image's.
KERNELS = {"/dev/shm", "/dev/mqueue"}
FIND_WRITABLE = """
import os
for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys")]
    if os.access(folder, os.W_OK):
        print(folder)
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.W_OK):
            print(path)
"""
HEALTHCHECK = ("podman", "healthcheck", "run")


def test_it_classifies_and_continues_korean(service: Container) -> None:
    good, bad = service.client.post("/classify", json={"inputs": ["정말 재미있고 감동적인 영화", "지루하고 재미없다"]}).json()
    assert (good[0]["label"], bad[0]["label"]) == ("positive", "negative")
    body = {"inputs": "집", "model": "starter-next-word", "parameters": {"max_new_tokens": 5}}
    assert service.client.post("/generate", json=body).json() == {"generated_text": "앞 공원에 사람들이 모여 있다"}


def test_a_stream_tells_the_same_as_an_answer(service: Container) -> None:
    body = {"inputs": "이 영화는", "parameters": {"max_new_tokens": 8}}
    whole = service.client.post("/generate", json=body).json()["generated_text"]
    told = events(service.client.post("/generate_stream", json=body).content)
    assert len(told) > 1
    assert whole == told[-1]["generated_text"] == written(told)


def test_its_metrics_can_be_read(service: Container) -> None:
    before = service.metric("seqserve_inputs_total", model="korean-sentiment", outcome="answer")
    service.client.post("/classify", json={"inputs": "좋다"})
    assert service.metric("seqserve_inputs_total", model="korean-sentiment", outcome="answer") == before + 1


def test_it_runs_as_a_user_that_is_nobody_without_rights_and_behind_a_filter_of_system_calls(service: Container) -> None:
    told = status(service.pid)
    assert set(told["Uid"].split()) | set(told["Gid"].split()) | set(told["Groups"].split()) == {str(USER)}
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {NO_CAPABILITY}
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"


def test_its_first_process_is_the_service_so_that_it_is_the_one_that_is_told_to_stop(service: Container) -> None:
    assert Path(f"/proc/{service.pid}/cmdline").read_text().split("\0")[:3] == ["python", "-m", "service"]
    assert status(service.pid)["NSpid"].split()[-1] == "1"


def test_nothing_can_be_written_but_tmp(service: Container) -> None:
    writable = set(service.execute("python", "-c", FIND_WRITABLE).splitlines())
    assert {path for path in writable if not path.startswith("/tmp/")} - KERNELS == {"/tmp"}


def test_the_models_cannot_be_changed_by_what_serves_them(service: Container) -> None:
    with pytest.raises(EngineError, match="Read-only file system"):
        service.execute("touch", "/app/models/new")


def test_it_writes_nothing_to_tmp_with_one_process(service: Container) -> None:
    assert service.execute("find", "/tmp", "-mindepth", "1") == ""


def test_it_has_no_way_out(service: Container) -> None:
    interfaces = Path(f"/proc/{service.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_the_health_check_of_the_image_tells_a_process_that_answers_from_one_that_hangs(image: Image) -> None:
    with running(image) as container:
        image.engine.run(*HEALTHCHECK, container.name)
        container.signal("STOP")
        eventually(lambda: status(container.pid)["State"].startswith("T"))
        with pytest.raises(EngineError):
            image.engine.run(*HEALTHCHECK, container.name)
        container.signal("CONT")
        eventually(container.ready)
        image.engine.run(*HEALTHCHECK, container.name)


def test_keys_come_from_a_mounted_secret_and_are_taken_anew_when_it_changes(image: Image, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "api-keys").write_text(f"{KEY}\n")
    (secret / "api-keys").chmod(0o444)
    with running(
        image, f"--volume={secret}:/run/secrets/seqserve:ro", api_keys_file="/run/secrets/seqserve/api-keys", poll_s=0.2
    ) as container:

        def asked(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return container.client.post("/classify", json={"inputs": "좋다"}, headers=headers).status_code

        assert container.client.post("/classify", json={"inputs": "좋다"}).status_code == 401
        assert (asked(KEY), asked(KEY[:-1] + "x")) == (200, 401)
        image.engine.run(*HEALTHCHECK, container.name)  # a health check has no key
        other = KEY[::-1]
        (secret / "api-keys").write_text(f"{other}\n")
        eventually(lambda: asked(other) == 200)
        assert asked(KEY) == 401
        assert KEY not in container.log
