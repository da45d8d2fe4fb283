"""A checkpoint is the last complete one, whatever happens while the next is written."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from training.checkpoint import Checkpoint
from training.errors import TrainingError

CONTENTS = {"weights": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "history": [{"number": 1, "loss": 0.5}], "state": None}


def checkpoint(path: Path, identity: str = "this run", warnings: list[str] | None = None) -> Checkpoint:
    return Checkpoint(path, identity, every_s=60, warn=(warnings if warnings is not None else []).append)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint(tmp_path / "fit.checkpoint").save(CONTENTS)
    loaded = checkpoint(tmp_path / "fit.checkpoint").load()
    assert loaded is not None
    assert torch.equal(loaded.pop("weights")["w"], CONTENTS["weights"]["w"])  # type: ignore[index]
    assert loaded == {name: value for name, value in CONTENTS.items() if name != "weights"}


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert checkpoint(tmp_path / "fit.checkpoint").load() is None


def test_one_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "fit.checkpoint", "another run").save(CONTENTS)
    with pytest.raises(TrainingError, match="another configuration or other data"):
        checkpoint(tmp_path / "fit.checkpoint").load()


def test_a_damaged_one_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "fit.checkpoint"
    checkpoint(path).save(CONTENTS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TrainingError, match="cannot be read; remove it"):
        checkpoint(path).load()


def test_it_is_due_after_its_seconds_and_not_again_at_once(tmp_path: Path) -> None:
    often = Checkpoint(tmp_path / "fit.checkpoint", "this run", every_s=0.05, warn=lambda _: None)
    assert not often.due
    time.sleep(0.06)
    assert often.due
    often.save(CONTENTS)
    assert not often.due


FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from training.checkpoint import Checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = Checkpoint(Path(sys.argv[1]), "run", 60, lambda line: print("warned:", line))
kept.save({"epoch": 1, "weights": torch.zeros(1000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
kept.save({"epoch": 2, "weights": torch.zeros(1_000_000)})
print("epoch", kept.load()["epoch"])
"""


def test_a_disk_that_is_full_costs_the_new_one_and_never_the_one_before_or_the_run(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: writing fails in the middle, as it does there."""
    path = tmp_path / "fit.checkpoint"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True, timeout=120)
    assert "warned:" in done.stdout
    assert "could not be written" in done.stdout
    assert "epoch 1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["fit.checkpoint"]


WRITER = """
import sys, torch
from pathlib import Path
from training.checkpoint import Checkpoint
kept = Checkpoint(Path(sys.argv[1]), "run", 60, print)
number = 0
while True:
    kept.save({"number": number, "weights": torch.full((500_000,), float(number))})
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.013, 0.029])
def test_a_kill_in_the_middle_of_writing_leaves_a_whole_one(tmp_path: Path, after_s: float) -> None:
    path = tmp_path / "fit.checkpoint"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(after_s)
        writer.send_signal(signal.SIGKILL)
    loaded = Checkpoint(path, "run", 60, lambda _: None).load()
    assert loaded is not None
    assert loaded["number"] >= 2
    assert bool((loaded["weights"] == loaded["number"]).all())
