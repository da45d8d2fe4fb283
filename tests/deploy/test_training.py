"""The Job that trains: it fits its image and volumes, and goes on where an earlier pod of it stopped."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

TRAINING = ROOT / "deploy" / "training"
SCRIPT = TRAINING / "train.sh"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((TRAINING / name).read_text(encoding="utf-8")))


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = documents("job.yaml")[0]["spec"]["template"]["spec"]
    return spec


def locked(lock: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def started(runs: Path, processes: int = 1) -> tuple[int, list[str]]:
    """The Job's script's exit code and the words of the command that it becomes; python and torchrun only tell what they get."""
    programs = runs.parent / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("python", "torchrun"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "RUNS": str(runs), "PROCESSES": str(processes)}
    command = ["sh", str(SCRIPT), "--preset", "korean-next-word", "--data", "/data", "--models", "/models"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def begun(runs: Path) -> Path:
    """The folder of a run that was killed."""
    run = runs / "korean-next-word-20260102-030405"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    return run


def test_the_first_pod_of_a_job_begins_a_run_in_the_jobs_own_folder(runs: Path) -> None:
    code, words = started(runs)
    assert code == 0
    assert words == ["python", "-m", "training.run", *_arguments(), "--runs", str(runs)]


def test_the_next_pod_goes_on_with_the_run_and_leaves_out_what_it_is_already_made_of(runs: Path, begun: Path) -> None:
    assert started(runs) == (0, ["python", "-m", "training.run", "--resume", str(begun)])


def test_a_folder_that_a_pod_was_killed_in_before_it_wrote_anything_is_no_run(runs: Path, begun: Path) -> None:
    (begun / "config.json").unlink()
    assert started(runs)[1][-2:] == ["--runs", str(runs)]


def test_a_model_that_was_kept_back_is_told_as_training_tells_it_and_not_made_again(runs: Path, begun: Path) -> None:
    kept = begun / "model" / "a-model" / "2"
    kept.mkdir(parents=True)
    assert started(runs, processes=2)[0] == 0  # a folder that a full disk left empty is no verdict
    (kept / "manifest.json").touch()
    assert started(runs, processes=2) == (3, [])


def test_several_processes_share_one_run(runs: Path, begun: Path) -> None:
    words = ["--standalone", "--nproc-per-node", "2", "-m", "training.run", "--resume", str(begun)]
    assert started(runs, processes=2) == (0, ["torchrun", *words])


def test_the_job_mounts_the_claims_that_are_made_and_writes_to_none_with_data() -> None:
    claims = {document["metadata"]["name"] for document in documents("volumes.yaml")}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v} == claims
    mounts = {mount["name"]: mount for mount in pod()["containers"][0]["volumeMounts"]}
    assert mounts.keys() == volumes.keys()
    assert mounts["data"]["readOnly"] is True


def test_the_job_trains_from_and_publishes_to_its_volumes() -> None:
    container = pod()["containers"][0]
    assert container["args"] == _arguments()
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    assert {"/data", "/models", "/" + environment["RUNS"].split("/")[1]} <= paths


def test_every_thread_of_every_process_has_a_core() -> None:
    container = pod()["containers"][0]
    environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    threads = int(environment["PROCESSES"]) * int(environment["OMP_NUM_THREADS"])
    assert str(threads) == container["resources"]["requests"]["cpu"] == container["resources"]["limits"]["cpu"]


def test_the_script_lies_in_the_image_where_the_job_looks_for_it() -> None:
    copied = re.search(r"^COPY deploy/training/train\.sh (\S+)$", (ROOT / "Dockerfile.training").read_text(encoding="utf-8"), re.M)
    assert copied is not None
    assert pod()["containers"][0]["command"] == ["sh", copied[1]]


def test_the_image_that_trains_has_the_versions_that_were_tested_and_no_tool_of_the_developers() -> None:
    assert locked("requirements-training.lock") <= locked("requirements-dev.lock")
    names = {entry.split("==")[0] for entry in locked("requirements-training.lock")}
    assert {"torch", "onnx", "onnxruntime", "datasets", "accelerate"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis"}


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.training"])
def test_what_an_image_copies_is_let_into_its_build(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--)(\S+)", text, re.MULTILINE)
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = ["requirements.lock" if source == "${LOCK}" else source for source in copied]
    assert [source for source in wanted if not any(Path(source).match(pattern) for pattern in let_in)] == []


def _arguments() -> list[str]:
    return ["--preset", "korean-next-word", "--data", "/data", "--models", "/models"]
