"""Training on a CUDA device: what is promised of it, proven where there is one, and skipped for all to see where not."""

from pathlib import Path

import pytest
import torch

from service.artifact import load
from tests.training.commands import begin, metrics, only_run, setting, succeeds
from tests.training.samples import TINY, sentences, write_labelled, write_text

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device that torch can use")

CLOSE = 2e-3  # of losses of the size of 1: other kernels sum in another order
WITHOUT_DROPOUT = setting("dropout=0", "word_dropout=0", "weight_dropout=0")


def losses(models: Path) -> list[float]:
    return [line["train_loss"] for line in metrics(only_run(models)) if "train_loss" in line]


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_model_learns_what_it_learns_on_a_cpu(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY[task], *WITHOUT_DROPOUT, *setting("precision=float32")]
    on_gpu = succeeds(arguments, tmp_path / "gpu" / "models")
    with monkeypatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        succeeds(arguments, tmp_path / "cpu" / "models")
    assert losses(tmp_path / "gpu" / "models") == pytest.approx(losses(tmp_path / "cpu" / "models"), abs=CLOSE)
    assert load(on_gpu).manifest.scores  # it was exported, and onnxruntime agreed with torch


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_sixteen_bits_are_used_by_themselves_and_learn_as_well(task: str, tmp_path: Path) -> None:
    for precision in ("auto", "float32"):
        succeeds([*TINY[task], *WITHOUT_DROPOUT, *setting(f"precision={precision}")], tmp_path / precision / "models")
    found, expected = (losses(tmp_path / precision / "models") for precision in ("auto", "float32"))
    assert found != expected
    assert found == pytest.approx(expected, rel=0.05)


def test_all_stages_of_a_classifier_run_there(tmp_path: Path) -> None:
    train, more = write_labelled(tmp_path / "train.csv", 200), write_text(tmp_path / "more.txt", sentences(300, seed=9))
    stages = setting("bidirectional=true", "ngrams=3", "buckets=100", "pretrain.epochs=1", "selftrain.epochs=1", "tables=int8")
    version = succeeds([*TINY["classify"], "--data", str(train), "--unlabelled", str(more), *stages], tmp_path / "models")
    assert load(version).manifest.ngrams is not None


def test_a_run_that_was_done_goes_on_to_the_same_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    succeeds(TINY["generate"], models)
    assert begin(["--resume", str(only_run(models))], models) == 0
    assert [path.name for path in (models / "starter-next-word").iterdir()] == ["1"]
