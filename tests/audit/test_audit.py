"""The audit itself: what it uses is locked, what it leaves out has a reason, and what it finds fails it."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.audit import advisories, manifests
from tests.audit.outcome import Outcome, judged, report
from tests.audit.run import LEFT_OUT
from tests.deploy.rendering import ROOT

Answers = Callable[[dict[str, Any]], None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Sets what pip-audit answers for each source, as a list of packages or, where it breaks, as None."""

    def set_answers(by_source: dict[str, Any]) -> None:
        def ran(*command: object) -> subprocess.CompletedProcess[str]:
            packages = by_source[str(command[command.index("--vulnerability-service") + 1])]
            said = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
            return subprocess.CompletedProcess([], 1, said, "")

        monkeypatch.setattr(advisories, "ran", ran)

    return set_answers


@pytest.mark.parametrize("group", ["audit", "checkov"])
def test_the_tools_are_locked(group: str) -> None:
    text = (ROOT / f"requirements-{group}.lock").read_text(encoding="utf-8")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"][group]
    assert {name.split(">=")[0] for name in wanted} <= set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))


def test_every_check_that_checkov_is_not_asked_has_its_reason() -> None:
    skipped = manifests.SKIPPED.read_text(encoding="utf-8").split("skip-check:")[1].strip().splitlines()
    assert len(skipped) >= 1
    assert [line for line in skipped if not re.fullmatch(r"\s*- CKV2?_K8S_\d+ # .{40,}", line)] == []


def test_what_bandit_is_not_asked_ruff_is_not_asked_either_but_for_imports() -> None:
    ignored = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]["ignore"]
    assert {check.replace("B", "S") for check in LEFT_OUT} - {"S404"} <= set(ignored)


def test_a_known_vulnerability_fails_the_audit(answers: Answers) -> None:
    answers({"pypi": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}, {"name": "b", "version": "2", "vulns": []}]})
    outcome = advisories.look_up()
    assert outcome.state == "bad"
    assert "requirements.lock: a 1: PYSEC-1" in outcome.words
    assert report([outcome]) == 1


@pytest.mark.parametrize("unreached", [None, [], [{"name": "a", "skip_reason": "not found"}]])
def test_where_no_source_can_be_reached_the_audit_says_so_and_goes_on(answers: Answers, unreached: object) -> None:
    answers({"pypi": unreached, "osv": unreached})
    outcome = advisories.look_up()
    assert (outcome.state, "neither PyPI nor OSV" in outcome.line) == ("not done", True)
    assert report([outcome]) == 0


def test_the_second_source_is_asked_where_the_first_knows_nothing(answers: Answers) -> None:
    answers({"pypi": None, "osv": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]})
    outcome = advisories.look_up()
    assert outcome.state == "good"
    assert outcome.line.startswith("2 packages of")
    assert outcome.line.endswith("by OSV, 1 of them unknown to it")


def test_a_tool_that_fails_is_bad_and_its_words_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = judged("hadolint", subprocess.CompletedProcess([], 1, "Dockerfile:1 DL3006", ""), "nothing to say")
    assert report([Outcome("bandit", "good", "code"), outcome]) == 1
    assert "Dockerfile:1 DL3006" in capsys.readouterr().out
