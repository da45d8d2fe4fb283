"""`python -m service check`: every fault is found, and said in a line."""

import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest

from service.check import check
from service.errors import SettingsError
from service.settings import Settings
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version, flip_byte
from tests.service.process import command

OTHER = "bilstm1-classify"


@pytest.fixture
def models(service_models: Path, tmp_path: Path) -> Path:
    """One model that continues, in two versions, and one that labels."""
    for name, version in ((ENDLESS, 1), (ENDLESS, 2), (OTHER, 1)):
        copy_version(service_models, name, tmp_path / "models", version)
    return tmp_path / "models"


def found(models: Path, **settings: object) -> tuple[list[str], list[str]]:
    """What is good, in words, and what is wrong."""
    defaults = {"generate_model": ENDLESS, "classify_model": OTHER}
    findings = list(check(Settings(models=models, **{**defaults, **settings})))  # type: ignore[arg-type]
    good = [" ".join(finding.text.split()) for finding in findings if finding.is_good]
    return good, [finding.text for finding in findings if not finding.is_good]


def test_what_serves_and_what_could_is_told_apart(models: Path) -> None:
    good, wrong = found(models)
    assert good == [
        f"{OTHER}/1 classify lstm serves, the default",
        f"{ENDLESS}/2 generate gru serves, the default",
        f"{ENDLESS}/1 generate gru could serve",
    ]
    assert wrong == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_version_is_wrong_whether_it_would_serve_or_not(version: int, models: Path) -> None:
    flip_byte(models / ENDLESS / str(version) / "model.onnx")
    good, wrong = found(models)
    assert [line.split()[0] for line in good] == [f"{OTHER}/1", f"{ENDLESS}/{3 - version}"]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"wrong: {ENDLESS}/{version}: model.onnx is damaged")


def test_a_default_that_is_not_there_and_a_version_that_is_not_there_are_wrong(models: Path) -> None:
    _, wrong = found(models, generate_model="nothing", versions={OTHER: 7})
    assert [line.split(":")[1] for line in wrong] == [
        f" {OTHER}/7 is asked for and not loaded",
        f" SEQSERVE_CLASSIFY_MODEL={OTHER}",
        " SEQSERVE_GENERATE_MODEL=nothing",
    ]


def test_a_model_that_lies_where_none_is_looked_for_is_told_and_is_no_fault(models: Path) -> None:
    shutil.copytree(models / OTHER / "1", models / OTHER / "v2")
    good, wrong = found(models)
    assert [line for line in good if not line.endswith(("serves, the default", "could serve"))] == [
        f"skipped: {OTHER}/v2: a version is a whole number, from 1 on and without zeros before it"
    ]
    assert wrong == []


def test_the_command_ends_with_0_where_all_is_well(models: Path) -> None:
    ended = command("check", models=models, generate_model=ENDLESS, classify_model=OTHER)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 3


def test_the_command_ends_with_1_where_something_is_wrong(models: Path) -> None:
    flip_byte(models / ENDLESS / "2" / "model.onnx")
    ended = command("check", models=models, generate_model=ENDLESS, classify_model=OTHER)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"wrong: {ENDLESS}/2: model.onnx is damaged" in ended.stdout


def test_a_host_at_which_nobody_could_listen_is_told_before_any_model_is_read(models: Path) -> None:
    for path in models.rglob("manifest.json"):
        path.unlink()
    with pytest.raises(SettingsError, match="^SEQSERVE_HOST=192.0.2.1: cannot assign requested address$"):
        found(models, host="192.0.2.1")


def test_a_service_that_listens_there_already_is_no_fault(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert found(models, port=taken.getsockname()[1])[1] == []


def test_traces_that_could_not_be_sent_are_told_and_those_that_could_leave_nothing_behind(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    assert found(models, traces=True)[1] == []
    assert set(threading.enumerate()) <= before
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(SettingsError, match="^SEQSERVE_TRACES: max_export_batch_size"):
        found(models, traces=True)
    assert found(models)[1] == []  # which asks for none
    monkeypatch.setitem(sys.modules, "service.http.traces", None)
    with pytest.raises(SettingsError, match="^SEQSERVE_TRACES: needs OpenTelemetry, which requirements-tracing.lock brings$"):
        found(models, traces=True)


def test_all_that_would_keep_the_service_from_starting_is_told_at_once_a_line_each(tmp_path: Path) -> None:
    ended = command("check", models=tmp_path / "none", host="192.0.2.1", admin_keys="short")
    assert ended.returncode == 2
    assert [line.partition("=")[0].partition(": key")[0] for line in ended.stderr.splitlines()] == [
        f"error: SEQSERVE_{name}" for name in ("MODELS", "ADMIN_KEYS", "HOST")
    ]


@pytest.mark.parametrize(
    "setting",
    [
        {"host": "192.0.2.1"},
        {"api_keys": "short"},
        {"admin_keys_file": "/nothing/there"},
        {"models": "/nothing/there"},
    ],
)
def test_the_command_ends_with_2_where_the_service_would_not_start(setting: dict[str, str]) -> None:
    ended = command("check", **setting)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: SEQSERVE_")
    assert ended.stdout == ""
