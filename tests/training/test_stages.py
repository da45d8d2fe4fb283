"""What is learnt before and after the labels, stage by stage, on a file of texts without labels."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.artifact import load
from service.inference.runtime import Runtime
from tests.training.commands import begin, epochs, metrics, only_run, setting, succeeds, versions
from tests.training.corpora import corpus_of
from tests.training.samples import TINY_CLASSIFY, sentences, write_labelled, write_text
from training.loop import fit
from training.model import Classifier, LanguageModel
from training.progress import Fitted
from training.rows import Row
from training.stages import build_model

SMALL = setting("test_fraction=0.3", "valid_fraction=0.2", "ngrams=2", "buckets=50", "dropout=0.2")
PRETRAIN = setting("pretrain.epochs=1", "pretrain.words=9")
SELFTRAIN = setting("selftrain.epochs=2", "selftrain.teachers=2")
STAGES = [*PRETRAIN, *SELFTRAIN]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled texts and others."""
    folder = tmp_path_factory.mktemp("data") / "reviews"
    write_labelled(folder / "train.csv", 100)
    write_text(folder / "unlabelled.txt", [*sentences(60, 3), "낯선말 하나", "", "another unheard one"])
    return folder


@pytest.fixture(scope="module")
def taught(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The models folder of a run with all stages, and what it said; tests must not change it."""
    models = tmp_path_factory.mktemp("taught") / "models"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        succeeds([*TINY_CLASSIFY, *SMALL, *STAGES, "--data", str(data)], models)
    return models, said.getvalue()


def test_every_stage_is_learnt_in_its_turn_and_told(taught: tuple[Path, str]) -> None:
    models, said = taught
    run = only_run(models)
    assert {stage: epochs(run, stage) for stage in ("pretrain", "teacher 1", "teacher 2", "student", "fit")} == {
        "pretrain": [1],
        "teacher 1": [1, 2],
        "teacher 2": [1, 2],
        "student": [1, 2],
        "fit": [],
    }
    places = [said.index(f"{stage}: ") for stage in ("pretrain", "teacher 1", "teacher 2", "student")]
    assert places == sorted(places)
    assert "teachers agree best where the linear model has a share of " in said


def test_what_came_of_all_stages_is_served_and_says_what_it_read(taught: tuple[Path, str]) -> None:
    artifact = load(*versions(taught[0]))
    Runtime(artifact)
    training = artifact.manifest.training
    assert "62 without labels" in training.data
    assert "pretrain.epochs=1" in training.command
    assert artifact.manifest.ngrams is not None


def test_the_teachers_shares_are_kept_in_the_run_for_each_text_without_a_label(taught: tuple[Path, str]) -> None:
    kept = torch.load(only_run(taught[0]) / "shares.checkpoint", weights_only=True)
    assert kept["shares"].shape == (62, 2)
    np.testing.assert_allclose(kept["shares"].sum(dim=1), 1, rtol=1e-5)
    assert 0 <= kept["linear_share"] <= 1


def test_no_two_teachers_are_the_same_model(taught: tuple[Path, str]) -> None:
    teachers = [torch.load(only_run(taught[0]) / f"teacher {n}.checkpoint", weights_only=True)["kept"] for n in (1, 2)]
    assert any(not torch.equal(teachers[0][name], teachers[1][name]) for name in teachers[0])


def test_every_stage_has_a_checkpoint_of_its_own_and_nothing_half_written_is_left(taught: tuple[Path, str]) -> None:
    names = sorted(path.name for path in only_run(taught[0]).iterdir())
    stages = ("pretrain", "shares", "student", "teacher 1", "teacher 2")
    assert names == sorted(["config.json", "metrics.jsonl", "mistakes.tsv", *(f"{stage}.checkpoint" for stage in stages)])


def test_the_same_run_gives_the_same_graph_byte_for_byte(taught: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    again = succeeds([*TINY_CLASSIFY, *SMALL, *STAGES, "--data", str(data)], tmp_path / "models")
    assert load(again).graph == load(*versions(taught[0])).graph


@pytest.mark.parametrize("stage", [PRETRAIN, SELFTRAIN], ids=["pretrain", "selftrain"])
def test_without_one_of_the_stages_another_model_comes_of_it(
    taught: tuple[Path, str], data: Path, tmp_path: Path, stage: list[str]
) -> None:
    other = load(succeeds([*TINY_CLASSIFY, *SMALL, *stage, "--data", str(data)], tmp_path / "models"))
    assert other.graph != load(*versions(taught[0])).graph
    run = only_run(tmp_path / "models")
    assert bool(epochs(run, "pretrain")) == (stage == PRETRAIN)
    assert bool(epochs(run, "fit")) == (stage == PRETRAIN)  # without self-training the labels are the last stage


def test_texts_without_labels_that_no_stage_reads_change_nothing(data: Path, tmp_path: Path) -> None:
    """Those in a folder, beside texts that a preset learns from without them."""
    write_labelled(tmp_path / "alone" / "train.csv", 100)
    graphs = {
        load(succeeds([*TINY_CLASSIFY, *SMALL, "--data", str(folder)], tmp_path / name / "models")).graph
        for name, folder in (("a", data), ("b", tmp_path / "alone"))
    }
    assert len(graphs) == 1


def test_pre_training_without_other_texts_reads_those_with_labels(tmp_path: Path) -> None:
    table = write_labelled(tmp_path / "data.csv", 100)
    succeeds([*TINY_CLASSIFY, *SMALL, *setting("pretrain.epochs=2", "pretrain.words=9"), "--data", str(table)], tmp_path / "models")
    assert epochs(only_run(tmp_path / "models"), "pretrain") == [1, 2]


def test_a_teacher_that_cannot_learn_is_one_line_and_nothing_is_published(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ruined = setting("learning_rate=0.01", "weight_decay=1e30")
    assert begin([*TINY_CLASSIFY, *SMALL, *STAGES, *ruined, "--data", str(data)], tmp_path / "models") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "of epoch 1" in line
    assert not (tmp_path / "models").exists()
    assert (only_run(tmp_path / "models") / "pretrain.checkpoint").is_file()  # what was learnt before is not lost


def test_what_went_wrong_in_an_earlier_stage_is_on_the_card_and_in_the_metrics_and_still_when_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Fitted] = []

    def faulty(*arguments: Any) -> Fitted:
        learnt.append(fit(*arguments))
        return replace(learnt[-1], fault="the loss is nan") if len(learnt) in (1, 3) else learnt[-1]

    models = tmp_path / "models"
    with monkeypatch.context() as patch:
        patch.setattr("training.stages.fit", faulty)
        path = succeeds([*TINY_CLASSIFY, *SMALL, *STAGES, "--data", str(data)], models)
    told = "\n- Stopped early: pretrain: the loss is nan. teacher 2: the loss is nan\n"
    assert told in (path / "README.md").read_text(encoding="utf-8")
    faults = [(line["of"], line["said"]) for line in metrics(only_run(models)) if line["stage"] == "fault"]
    assert faults == [("pretrain", "the loss is nan"), ("teacher 2", "the loss is nan")]
    again = succeeds(["--resume", str(only_run(models)), "--publish", "always"], tmp_path / "again")
    assert told in (again / "README.md").read_text(encoding="utf-8")
    assert load(again).manifest.training.seconds == load(path).manifest.training.seconds


# Models of the right kind and size

LABELLED = [Row("a b c", "x"), Row("b c d", "y")] * 4


def test_a_model_has_the_size_and_the_kind_of_its_task(tmp_path: Path) -> None:
    classifier = build_model(*corpus_of(tmp_path / "c", LABELLED))
    assert isinstance(classifier, Classifier)
    assert classifier.output.out_features == 2
    generator = build_model(*corpus_of(tmp_path / "g", [Row(row.text, None) for row in LABELLED]))
    assert isinstance(generator, LanguageModel)
    assert generator.output.out_features == 6  # four words, padding and unknown


def test_the_seed_alone_decides_the_first_weights(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, LABELLED)
    seeds = (config.seed, config.seed, config.seed + 1)
    plain, same, other = (build_model(config.model_copy(update={"seed": seed}), corpus).state_dict() for seed in seeds)
    assert all(torch.equal(plain[name], same[name]) for name in plain)
    assert any(not torch.equal(plain[name], other[name]) for name in plain)
