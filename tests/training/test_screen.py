"""What a person sees of a run that is under way, and that metrics.jsonl has all of it."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from rich.console import Console

from tests.training.commands import epochs, metrics
from tests.training.toys import on_cpu
from training.folder import METRICS, Plan, RunFolder
from training.preset import load_config
from training.progress import Epoch, Progress
from training.screen import STEPS_AN_EPOCH, Screen


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, Plan(preset="p", command="c", models="m", config=load_config("starter-next-word")))


class Seen(StringIO):
    """A screen that can be read, a terminal or not."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.console = Console(file=self, force_terminal=terminal, width=100)

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


def screen(run: RunFolder, seen: Seen, count: int) -> Screen:
    return Screen("fit", count, seen.console, run, on_cpu())


def epoch(number: int, valid_loss: float | None = None) -> Epoch:
    return Epoch(number, 1 / number, valid_loss, 1234.5)


def test_without_a_terminal_an_epoch_of_a_toy_is_no_line_but_the_first_and_the_last_one_are(run: RunFolder) -> None:
    seen = Seen()
    with screen(run, seen, 300) as shown:
        for number in range(1, 301):
            shown(Progress(number, 1.0, 0.5, 1000.0))
            shown(epoch(number, valid_loss=0.25))
    assert len(seen.lines) < 10
    assert seen.lines[0].startswith("fit 1/300")
    assert seen.lines[-1] == "fit 300/300: train loss 0.0033, valid loss 0.2500, 1,234 words/s"


def test_every_epoch_is_in_the_metrics_whatever_is_shown(run: RunFolder) -> None:
    with screen(run, Seen(), 300) as shown:
        for number in range(1, 301):
            shown(epoch(number))
    assert epochs(run.path) == list(range(1, 301))
    last = metrics(run.path)[-1]
    assert {name: last[name] for name in ("stage", "epoch", "train_loss", "words_per_s")} == {
        "stage": "fit",
        "epoch": 300,
        "train_loss": 1 / 300,
        "words_per_s": 1234.5,
    }
    assert last["time"] > 1.7e9
    assert "valid_loss" not in last


def test_without_a_terminal_a_long_epoch_shows_how_far_it_is(run: RunFolder) -> None:
    seen = Seen()
    with screen(run, seen, 2) as shown:
        shown(Progress(1, 0.25, 2.0, 5000.0))
        shown(Progress(1, 0.26, 2.0, 5000.0))
    assert seen.lines == ["fit 1/2, 25%: loss 2.000, 5,000 words/s"]


def test_a_terminal_shows_the_loss_the_pace_and_the_time_left(run: RunFolder) -> None:
    seen = Seen(terminal=True)
    with screen(run, seen, 4) as shown:
        shown(Progress(2, 0.5, 2.125, 5000.0))
        shown(epoch(2, valid_loss=0.5))
    text = seen.getvalue()
    for part in ("fit 2/4", "loss 2.125", "5,000 words/s", ":"):
        assert part in text


def test_the_steps_of_a_tracker_go_on_where_a_run_was_resumed(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.screen.RECORD_EVERY_S", 0.0)
    steps: list[int | None] = []

    def log(accelerator: Accelerator, values: dict[str, Any], step: int | None = None) -> None:
        steps.append(step)

    monkeypatch.setattr(Accelerator, "log", log)
    for number, share in ((1, 0.5), (2, 0.25)):
        with screen(run, Seen(), 2) as shown:
            shown(Progress(number, share, 2.0, 1.0))
            shown(epoch(number))
    assert steps == [STEPS_AN_EPOCH // 2, STEPS_AN_EPOCH, STEPS_AN_EPOCH * 5 // 4, STEPS_AN_EPOCH * 2]


def test_where_nothing_can_be_recorded_training_goes_on(run: RunFolder) -> None:
    (run.path / METRICS).mkdir()
    seen = Seen()
    with screen(run, seen, 1) as shown:
        shown(epoch(1))
    assert seen.lines == ["fit 1/1: train loss 1.0000, 1,234 words/s"]


def test_a_bar_ends_where_training_fails(run: RunFolder) -> None:
    seen = Seen(terminal=True)

    def fail() -> None:
        with screen(run, seen, 4) as shown:
            shown(Progress(1, 0.5, 2.0, 5000.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert seen.getvalue().endswith("\x1b[?25h")  # the cursor is back
