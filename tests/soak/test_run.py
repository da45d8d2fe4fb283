"""tests.soak.run: a scenario that breaks off is broken, and takes no other one with it."""

import signal
from pathlib import Path

import pytest

from tests.soak import run
from tests.soak.mix import Mix
from tests.soak.result import Promise, Result
from tests.soak.soak import MODELS, Soak


@pytest.fixture
def soak(tmp_path: Path) -> Soak:
    mix = Mix(MODELS)
    return Soak(tmp_path, mix, mix.requests(10), 100.0, 1.0, 1.0)


def test_a_scenario_that_breaks_off_is_broken(soak: Soak) -> None:
    def fail(_: Soak) -> Result:
        raise ConnectionRefusedError("nobody there")

    result = run.attempt("pod", fail, soak)
    assert (result.scenario, result.verdict) == ("pod", "BROKEN")
    assert "nobody there" in result.broken[0].found


def test_to_be_told_to_stop_is_no_result(soak: Soak) -> None:
    def stop(_: Soak) -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.attempt("pod", stop, soak)


@pytest.mark.parametrize(("kept", "code"), [(True, 0), (False, 1)])
def test_it_ends_with_1_where_a_promise_is_broken(
    kept: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Result("steady", promises=[Promise("this holds", "or not", kept)])
    out = tmp_path / "soak.json"
    monkeypatch.setattr(run, "SCENARIOS", {"steady": lambda _: found})
    monkeypatch.setattr(run, "pin", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["soak", "--only", "steady", "--capacity", "100", "--out", str(out)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert run.main() == code
    assert ("BROKEN" in capsys.readouterr().out) == (not kept)
    assert '"verdict": ' in out.read_text()
