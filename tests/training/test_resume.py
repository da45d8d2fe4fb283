"""A run that was interrupted, wherever and however often, ends with the weights of one that was not, bit for bit."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training import toys
from tests.training.toys import CASES, Case, Interrupted, Often, losses, same, weights
from training.errors import TrainingError
from training.progress import Epoch, Fitted, Progress

ROOT = Path(__file__).parent.parent.parent

every_case = pytest.mark.parametrize("make", CASES.values(), ids=list(CASES))


def resumed_until_done(make: Callable[..., Case], path: Path, stops_after: int, saves_after: int) -> tuple[Case, Fitted, int]:
    """A model and a checkpoint of its own for every attempt, as in a new process; and how many there were."""
    for attempt in range(1, 100):
        case = make()
        try:
            return case, case.fit_for(stops_after, Often(path, saves_after)), attempt
        except Interrupted:
            continue
    raise AssertionError("it never gets on")


@every_case
@pytest.mark.parametrize(("stops_after", "saves_after"), [(1, 1), (5, 3), (11, 4)])
def test_interrupted_again_and_again_it_ends_as_if_never(
    tmp_path: Path, make: Callable[..., Case], stops_after: int, saves_after: int
) -> None:
    """Where a batch was learnt from after the last checkpoint, it is learnt from again."""
    plain = make()
    expected = plain.fit()
    case, fitted, attempts = resumed_until_done(make, tmp_path / "fit.checkpoint", stops_after, saves_after)
    assert attempts > 1
    assert losses(fitted) == losses(expected)
    assert fitted.best.number == expected.best.number
    assert same(weights(case.model), weights(plain.model))


@every_case
def test_interrupted_whenever_it_tells_something_it_ends_as_if_never(tmp_path: Path, make: Callable[..., Case]) -> None:
    """That is before and after an epoch is counted, and before that is saved."""
    plain = make()
    expected = plain.fit()
    told: list[Progress | Epoch] = []

    def stop_once_more(what: Progress | Epoch) -> None:
        if what not in told and not any(_same_place(what, before) for before in told):
            told.append(what)
            raise Interrupted

    while True:
        case = make()
        try:
            fitted = case.fit(Often(tmp_path / "fit.checkpoint", 2), stop_once_more)
            break
        except Interrupted:
            continue
    assert [type(what) for what in told if isinstance(what, Epoch) or what.share == 1.0] == [Progress, Epoch] * 3
    assert losses(fitted) == losses(expected)
    assert same(weights(case.model), weights(plain.model))


def _same_place(what: Progress | Epoch, before: Progress | Epoch) -> bool:
    """Whether it is the same thing told again after a resumption: it went at another pace."""
    if isinstance(what, Epoch) or isinstance(before, Epoch):
        return isinstance(what, Epoch) and isinstance(before, Epoch) and what.number == before.number
    return (what.epoch, what.share) == (before.epoch, before.share)


def test_what_is_finished_is_not_trained_again(tmp_path: Path) -> None:
    first, again = toys.sentence_case(), toys.sentence_case()
    expected = first.fit(Often(tmp_path / "fit.checkpoint", 2))
    fitted = again.fit_for(0, Often(tmp_path / "fit.checkpoint", 2))
    assert fitted.history == expected.history
    assert fitted.best == expected.best
    assert fitted.seconds == expected.seconds
    assert same(weights(again.model), weights(first.model))


def test_the_time_before_an_interruption_counts(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        toys.sentence_case().fit_for(9, Often(tmp_path / "fit.checkpoint", 1))
    kept = Often(tmp_path / "fit.checkpoint", 1).load()
    assert kept is not None
    assert (kept["epoch"], kept["batch"]) == (3, 1)
    fitted = toys.sentence_case().fit(Often(tmp_path / "fit.checkpoint", 1))
    assert fitted.seconds > kept["seconds"] + kept["seconds_before"] > 0


def test_a_checkpoint_of_another_configuration_or_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.checkpoint"
    toys.sentence_case().fit(Often(path, 1, "this configuration and these data"))
    untouched = path.read_bytes()
    case = toys.sentence_case()
    before = weights(case.model)
    with pytest.raises(TrainingError, match="another configuration or other data"):
        case.fit(Often(path, 1, "another configuration"))
    assert same(weights(case.model), before)
    assert path.read_bytes() == untouched


# Forks rather than new processes: each would take seconds to import torch, and to use it for the first time.
KILLED = """
import gc, os, random, signal, sys, time
from pathlib import Path
import torch
from tests.training import toys
from training.checkpoint import Checkpoint

EPOCHS, KILLS = 6, 6
torch.set_num_threads(1)
toys.sentence_case().fit()
gc.freeze()
within = 0
chance = random.Random(1)


def begin(make, path, result):
    child = os.fork()
    if not child:
        case = make(epochs=EPOCHS, patience=EPOCHS)
        kept = Checkpoint(path, "run", 0.01, toys.warn) if path else None
        fitted = case.fit(kept)
        torch.save({"weights": toys.weights(case.model), "losses": toys.losses(fitted)}, result)
        os._exit(0)
    return child


for name, make in toys.CASES.items():
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    path = folder / "fit.checkpoint"
    started = time.monotonic()
    assert os.waitpid(begin(make, None, folder / "whole"), 0)[1] == 0
    took_s = time.monotonic() - started
    for _ in range(KILLS):
        child = begin(make, path, folder / "killed")
        time.sleep(chance.uniform(0.05, 0.6) * took_s)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        contents = Checkpoint(path, "run", 1, toys.warn).load()
        within += contents is not None and contents["batch"] > 0
        if not status:
            break
    if status:
        assert os.waitpid(begin(make, path, folder / "killed"), 0)[1] == 0
    whole, killed = (torch.load(folder / part) for part in ("whole", "killed"))
    assert whole["losses"] == killed["losses"], name
    assert toys.same(whole["weights"], killed["weights"]), name
    assert len(whole["losses"]) == EPOCHS
    print(name)
assert within, "no kill fell within an epoch"
"""


def test_killed_at_any_moment_it_ends_as_if_never(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(CASES)
