"""Two processes train what one does: the same losses, the same weights, and one of them writes."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import toys
from tests.training.samples import TINY_CLASSIFY, write_labelled
from tests.training.toys import losses, weights
from training.processes import Processes

ROOT = Path(__file__).parent.parent.parent

# Chance is drawn by each process for its own rows, so what is compared with one process does without. Batches of an odd size,
# a last batch of one row, and streams of which one process has more lanes than the other, or all.
ALIKE: dict[str, tuple[str, dict[str, Any]]] = {
    "sentence": ("sentence", {"size": 9, "dropout": 0.0}),
    "sentence of even batches": ("sentence", {"size": 8, "dropout": 0.0, "average": 0.0}),
    "stream": ("stream", {"rows": 3, "dropout": 0.0}),
    "stream of one lane": ("stream", {"rows": 1, "dropout": 0.0}),
    "ngrams": ("ngrams", {"size": 8, "dropout": 0.0}),
    "ngrams in odd batches": ("ngrams", {"size": 7, "dropout": 0.0, "label_smoothing": 0.0}),
    "pretrain": ("pretrain", {"size": 8, "dropout": 0.0}),
}
RESUMED = ("sentence", "stream", "ngrams", "pretrain")  # with every dropout

TWO = """
import sys
from pathlib import Path
import torch
from tests.training import toys
from tests.training.samples import TINY_CLASSIFY, write_labelled
from tests.training.test_processes import ALIKE, RESUMED

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), toys.on_cpu().process_index


def keep(name, case, fitted, asked=None):
    ended = {"losses": toys.losses(fitted), "weights": toys.weights(case.model), "asked": asked}
    torch.save(ended, folder / f"{name}.{rank}")


for name, (kind, changes) in ALIKE.items():
    case = toys.CASES[kind](**changes)
    kept = toys.Often(folder / f"{name}.{rank}.checkpoint", 3)
    keep(name, case, case.fit(kept), kept.asked)

for kind in RESUMED:
    whole = toys.CASES[kind]()
    keep(f"{kind} whole", whole, whole.fit())
    for stops_after in (2, 5, 3):
        try:
            toys.CASES[kind]().fit_for(stops_after, toys.Often(folder / f"{kind}.checkpoint", 2))
            raise AssertionError("it was to be interrupted")
        except toys.Interrupted:
            continue
    resumed = toys.CASES[kind]()
    keep(f"{kind} resumed", resumed, resumed.fit(toys.Often(folder / f"{kind}.checkpoint", 2)))

torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what every process of the two ended with. All in one launch: each takes seconds to import torch."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "two.py"
    script.write_text(TWO, encoding="utf-8")
    launch = ("torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(
        [sys.executable, "-m", *launch, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as launched:
        try:
            said, _ = launched.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            launched.terminate()  # the launcher ends its processes
            said, _ = launched.communicate(timeout=40)
            raise AssertionError(f"the processes wait for one another: {said}") from None
    assert launched.returncode == 0, said
    return folder


def ended(folder: Path, name: str, rank: int = 0) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(folder / f"{name}.{rank}")
    return contents


@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_lose_and_learn_what_one_does(two: Path, name: str) -> None:
    kind, changes = ALIKE[name]
    case = toys.CASES[kind](**changes)
    fitted, found = case.fit(), ended(two, name)
    for one, other in zip(losses(fitted), found["losses"], strict=True):
        assert [loss is None for loss in one] == [loss is None for loss in other]
        assert [loss for loss in other if loss is not None] == pytest.approx([loss for loss in one if loss is not None], rel=1e-5)
    for weight, expected in weights(case.model).items():
        if weight == "attention.bias":
            continue  # it changes nothing, so what Adam learns of it is the sign of rounding errors
        assert torch.allclose(found["weights"][weight], expected, rtol=0, atol=1e-4), weight


@pytest.mark.parametrize("name", [*ALIKE, *(f"{kind} resumed" for kind in RESUMED)])
def test_both_processes_end_with_the_same_weights_and_history(two: Path, name: str) -> None:
    one, other = (ended(two, name, rank) for rank in (0, 1))
    assert one["losses"] == other["losses"]
    assert toys.same(one["weights"], other["weights"])


@pytest.mark.parametrize("kind", RESUMED)
def test_two_processes_that_were_interrupted_end_as_if_never(two: Path, kind: str) -> None:
    whole, resumed = (ended(two, f"{kind} {end}") for end in ("whole", "resumed"))
    assert resumed["losses"] == whole["losses"]
    assert toys.same(resumed["weights"], whole["weights"])


@pytest.mark.parametrize("name", ALIKE)
def test_only_the_main_process_writes(two: Path, name: str) -> None:
    assert (two / f"{name}.0.checkpoint").is_file()
    assert not (two / f"{name}.1.checkpoint").exists()


@pytest.mark.parametrize("name", ALIKE)
def test_the_main_process_alone_says_when_it_is_time_to_write(two: Path, name: str) -> None:
    """The others never write, so by their clocks it would be time after every batch."""
    assert ended(two, name, 0)["asked"] > 10
    assert ended(two, name, 1)["asked"] == 0


def test_the_command_line_under_torchrun_trains_one_model_and_publishes_it_once(tmp_path: Path) -> None:
    """Without a GPU too, where accelerate would take each process for the only one if nobody said otherwise."""
    data = write_labelled(tmp_path / "data.csv", 60)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training.run"]
    command = [*launch, *TINY_CLASSIFY, "--data", str(data), "--models", str(tmp_path / "models")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("published") == 1
    assert [path.name for path in (tmp_path / "models" / "starter-sentiment").iterdir()] == ["1"]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert "Warning" not in done.stderr.replace("UserWarning: Attempting to run", "")


def test_another_seed_or_step_or_process_draws_other_numbers() -> None:
    """A CPU's generator looks at the low 32 bits of its seed alone."""
    processes, seeds = Processes(toys.on_cpu()), []
    for seed, step, processes.rank in itertools.product((1, 2, 2**31 - 1), (0, 1, 2, 10**6), (0, 1, 7)):
        seeds.append(processes.step_seed(seed, step))
        assert processes.step_seed(seed, step) == seeds[-1]
    drawn = {tuple(torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()) for seed in seeds}
    assert len(drawn) == len(seeds)
