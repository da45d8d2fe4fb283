"""The folder of a run: what it holds, and that a run goes on from it, wherever it was ended and from wherever it is resumed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from service.artifact import load
from tests.training.commands import begin, epochs, files_no_larger_than, metrics, only_run, runs, setting, succeeds, versions
from tests.training.samples import TINY, TINY_CLASSIFY, TINY_GENERATE, left_in, sentences, write_labelled, write_text
from training.errors import ConfigError, PublishError
from training.folder import CONFIG, METRICS, Plan, RunFolder
from training.preset import load_config
from training.run import main

ROOT = Path(__file__).parents[2]
HELD_OUT = setting("valid_fraction=0.2", "test_fraction=0.3")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def plan() -> Plan:
    return Plan(preset="starter-next-word", command="c", models="models", config=load_config("starter-next-word"))


# The folder itself


def test_a_new_folder_is_named_after_the_model_and_holds_the_plan(tmp_path: Path, plan: Plan) -> None:
    run = RunFolder.create(tmp_path / "a" / "runs", plan)
    assert run.path.parent == tmp_path / "a" / "runs"
    assert run.path.name.startswith("starter-next-word-20")
    found = RunFolder.open(run.path)
    assert found.plan == plan  # its data is where the preset's is, which is no relative path
    assert (run.resumed, found.resumed) == (False, True)


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path: Path, plan: Plan) -> None:
    assert len({RunFolder.create(tmp_path, plan).path for _ in range(20)}) == 20


def test_a_run_that_cannot_be_kept_is_one_line_that_names_the_option(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "runs").write_text("a file in the way", encoding="utf-8")
    for runs_folder in (tmp_path / "runs", tmp_path / "runs" / "deeper"):
        with pytest.raises(PublishError, match="--runs names another folder") as refusal:
            RunFolder.create(runs_folder, plan)
        assert str(refusal.value).startswith(f"{runs_folder}: ")
        assert len(str(refusal.value).splitlines()) == 1


def test_on_a_full_disk_no_run_is_begun_and_nothing_is_left_of_it(tmp_path: Path, plan: Plan) -> None:
    with files_no_larger_than(100), pytest.raises(PublishError, match="no run can be kept there: File too large"):
        RunFolder.create(tmp_path / "runs", plan)
    assert left_in(tmp_path) == ["runs"]


def test_a_run_that_is_killed_while_it_begins_has_no_configuration_rather_than_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt  # all is written, and nobody knows what of it is on the disk

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder.create(tmp_path, plan)
    assert not list(tmp_path.rglob(CONFIG))


def test_where_its_data_is_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    monkeypatch.chdir(tmp_path)
    write_labelled(tmp_path / "set" / "train.csv")
    data = plan.config.data.model_copy(update={"train": "a.txt", "valid": "hub:owner/set", "test": "hub:set:train"})
    run = RunFolder.create(tmp_path, plan.model_copy(update={"config": plan.config.model_copy(update={"data": data})}))
    kept = RunFolder.open(run.path).plan.config.data
    assert (kept.train, kept.valid) == (str(tmp_path / "a.txt"), "hub:owner/set")
    assert (kept.test, kept.unlabelled) == (f"hub:{tmp_path / 'set'}:train", None)


@pytest.mark.parametrize("content", [None, "", "{", '{"preset": "p"}', "\xff", "[]"])
def test_what_is_no_folder_of_a_run_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / CONFIG).write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=rf"^--resume {tmp_path}: is no folder of a run") as refusal:
        RunFolder.open(tmp_path)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_value_that_was_edited_and_is_wrong_is_named(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / CONFIG).write_text(plan.model_dump_json().replace('"epochs":', '"epoch":', 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.pretrain\.epoch: Extra inputs"):
        RunFolder.open(tmp_path)


def test_on_a_full_disk_a_line_of_the_metrics_is_lost_and_nothing_else(tmp_path: Path, plan: Plan) -> None:
    run = RunFolder.create(tmp_path, plan)
    run.record("fit", {"epoch": 1})
    with files_no_larger_than((run.path / METRICS).stat().st_size):
        run.record("fit", {"epoch": 2})
        run.write("mistakes.tsv", "x" * 10_000)
    run.record("fit", {"epoch": 3})
    assert epochs(run.path) == [1, 3]


# What a run leaves


@pytest.fixture(scope="module", params=["generate", "classify"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder of one run; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_labelled(folder / "data.csv", 100)
    succeeds([*TINY[request.param], *HELD_OUT, "--data", str(data)], folder / "models")
    return folder / "models"


def classifies(models: Path) -> bool:
    return only_run(models).name.startswith("starter-sentiment")


def test_a_run_keeps_its_configuration_its_figures_and_its_checkpoints_and_no_encoded_text(finished: Path) -> None:
    names = ["config.json", "fit.checkpoint", "metrics.jsonl", *(["mistakes.tsv"] if classifies(finished) else [])]
    assert left_in(only_run(finished)) == names


def test_the_configuration_is_all_that_was_asked_for(finished: Path) -> None:
    found = json.loads((only_run(finished) / CONFIG).read_text(encoding="utf-8"))
    assert found["models"] == str(finished)
    assert found["command"].startswith("python -m training.run --preset starter-")
    assert found["config"]["fit"]["epochs"] == 2
    assert found["config"]["data"]["test_fraction"] == 0.3


def test_the_metrics_are_a_line_an_epoch(finished: Path) -> None:
    assert epochs(only_run(finished)) == [1, 2]
    lines = [line for line in metrics(only_run(finished)) if line["stage"] != "test"]
    assert len(lines) == 2
    for line in lines:
        assert line["stage"] == "fit"
        assert min(line["time"], line["train_loss"], line["valid_loss"], line["words_per_s"]) > 0


def test_the_metrics_have_what_the_run_came_to_as_it_is_published(finished: Path) -> None:
    line = next(line for line in metrics(only_run(finished)) if line["stage"] == "test")
    (version,) = versions(finished)
    for score in load(version).manifest.scores:
        assert (line["split"], line[score.metric]) == (score.split, score.value)
        for name, value in score.baselines.items():
            assert line[f"{score.metric} of {name}"] == value
    assert line["verdict"].startswith("there is no version of starter-")
    assert ("temperature" in line) == classifies(finished)


def test_the_mistakes_are_texts_of_the_test_split_with_what_was_said_of_them(finished: Path) -> None:
    if not classifies(finished):
        return
    head, *rows = (only_run(finished) / "mistakes.tsv").read_text(encoding="utf-8").splitlines()
    assert head == "score\tpredicted\texpected\ttext"
    assert rows  # labels that take turns cannot be learnt
    for row in rows:
        score, predicted, expected, text = row.split("\t")
        assert 0.5 <= float(score) <= 1
        assert {predicted, expected} == {"up", "down"}
        assert text in sentences(100)


def test_mistakes_are_never_published(finished: Path) -> None:
    (version,) = versions(finished)
    assert not any("mistake" in path.name or "mistake" in path.read_text(errors="replace") for path in version.iterdir())


def test_a_run_that_fails_before_it_learnt_anything_leaves_no_folder(tmp_path: Path, models: Path) -> None:
    data = write_table_without_column(tmp_path / "data.csv")
    assert begin([*TINY_CLASSIFY, "--data", str(data)], models) == 2
    assert runs(models) == []


def test_a_resumed_run_that_fails_keeps_its_folder(tmp_path: Path, models: Path, plan: Plan) -> None:
    data = plan.config.data.model_copy(update={"train": str(tmp_path / "gone.txt")})
    kept = plan.model_copy(update={"config": plan.config.model_copy(update={"data": data})})
    run = RunFolder.create(tmp_path / "runs", kept)
    assert begin(["--resume", str(run.path)], models) == 2
    assert left_in(run.path) == [CONFIG]


def write_table_without_column(path: Path) -> Path:
    return write_text(path, ["body,stars", "a b,up"])


# Resuming


def test_a_finished_run_that_is_resumed_trains_nothing_and_publishes_nothing_new(
    finished: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = epochs(only_run(finished))
    monkeypatch.chdir(tmp_path)
    assert main(["--resume", str(only_run(finished))]) == 0
    assert "version 1 is this very model" in capsys.readouterr().out
    assert [path.name for path in versions(finished)] == ["1"]
    assert epochs(only_run(finished)) == before


def test_a_finished_run_is_published_again_where_it_is_asked_for(finished: Path, tmp_path: Path) -> None:
    arguments = ["--resume", str(only_run(finished)), "--publish", "always"]
    again = succeeds(arguments, tmp_path / "elsewhere")
    (first,) = versions(finished)
    assert load(again).graph == load(first).graph
    assert begin(arguments, tmp_path / "elsewhere") == 0
    assert [path.name for path in versions(tmp_path / "elsewhere")] == ["1", "2"]
    assert load(again).manifest.training.epochs == 2


def test_a_run_that_is_kept_back_again_is_not_kept_twice(tmp_path: Path, models: Path, capsys: Capture) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    begin([*TINY_GENERATE, "--data", str(data), "--publish", "never"], models)
    kept = only_run(models) / "model" / "starter-next-word"
    for _ in range(2):
        capsys.readouterr()
        assert begin(["--resume", str(only_run(models)), "--publish", "never"], models) == 0
        assert f"it is kept in {kept / '1'} " in capsys.readouterr().out
        assert [path.name for path in kept.iterdir()] == ["1"]


def test_another_model_than_the_one_that_was_kept_back_is_kept_beside_it(tmp_path: Path, models: Path) -> None:
    """Or one that can no longer be read."""
    data = write_text(tmp_path / "data.txt", sentences(40))
    begin([*TINY_GENERATE, "--data", str(data), "--publish", "never"], models)
    kept = only_run(models) / "model" / "starter-next-word"
    (kept / "1" / "model.onnx").write_bytes(b"something else")
    begin(["--resume", str(only_run(models)), "--publish", "never"], models)
    assert sorted(path.name for path in kept.iterdir()) == ["1", "2"]


def test_a_resumed_run_s_figures_go_where_its_folder_is(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def placed(**given: Any) -> Accelerator:
        places.append(given["project_dir"])
        return Accelerator(**given)

    monkeypatch.setattr("training.run.Accelerator", placed)
    begin(["--resume", str(only_run(finished)), "--publish", "never"], tmp_path / "elsewhere" / "models")
    assert places == [str(finished.parent / "runs")]
    shutil.rmtree(only_run(finished) / "model")


def test_a_run_is_resumed_from_another_folder_than_the_one_where_its_data_was_named(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "here" / "data.txt", sentences(40))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([*TINY_GENERATE, "--data", "data.txt", "--models", "../models", "--publish", "never"]) == 0
    monkeypatch.chdir(tmp_path / "there")
    assert main(["--resume", f"../runs/{only_run(models).name}", "--publish", "always"]) == 0
    assert [path.name for path in versions(models)] == ["1"]
    assert left_in(tmp_path / "there") == []


def test_other_data_under_the_same_name_is_refused_and_the_run_left_as_it_was(tmp_path: Path, models: Path, capfd: Capture) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    succeeds([*TINY_GENERATE, "--data", str(data)], models)
    before = (only_run(models) / "fit.checkpoint").read_bytes()
    write_text(data, sentences(41))
    capfd.readouterr()
    assert begin(["--resume", str(only_run(models))], models) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "another configuration or other data" in line
    assert (only_run(models) / "fit.checkpoint").read_bytes() == before


@pytest.mark.parametrize(("arguments", "said"), [([], "is no folder of a run"), (["--preset", "starter-sentiment"], "--preset: ")])
def test_what_cannot_be_resumed_is_one_line(tmp_path: Path, models: Path, capfd: Capture, arguments: list[str], said: str) -> None:
    assert begin(["--resume", str(tmp_path / "none"), *arguments], models) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert left_in(tmp_path) == []


# Full disks: the checkpoint is the largest file, the graph the next one


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_told_and_the_model_published(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    larger = [*TINY_GENERATE, "--data", str(data), *setting("hidden=100", "embedding=40")]
    whole = succeeds(larger, tmp_path / "whole" / "models")
    sizes = [path.stat().st_size for path in whole.iterdir()]
    with files_no_larger_than(max(sizes) + 1000):
        path = succeeds(larger, models)
    warning, *_ = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert "fit.checkpoint: the checkpoint could not be written" in warning
    assert "training goes on" in warning
    assert load(path).graph == load(whole).graph
    assert left_in(only_run(models)) == ["config.json", "metrics.jsonl"]


@pytest.mark.parametrize("size", [100, 4_000, 30_000])
def test_a_disk_that_is_full_sooner_is_one_line_and_nothing_is_published(
    tmp_path: Path, models: Path, capsys: Capture, size: int
) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    with files_no_larger_than(size):
        assert begin([*TINY_GENERATE, "--data", str(data), *setting("hidden=100", "embedding=40")], models) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "File too large" in line
    assert versions(models) == []
    assert not list(models.glob("*"))


# Killed

# Forks of a process that has run already, as a new one takes seconds to import torch and to use it for the first time. A run is
# killed as soon as an epoch of a stage is done, and resumed, stage after stage; its last epoch is far away then.
KILLED = """
import gc, json, os, signal, sys, time
from pathlib import Path
import torch
from tests.training.commands import only_run
from training.folder import METRICS
from training.run import main

torch.set_num_threads(1)


def begin(arguments, log):
    child = os.fork()
    if not child:
        code = 70
        try:
            sys.stdout = sys.stderr = open(log, "a", buffering=1)
            code = main(arguments)
        finally:
            os._exit(code)
    return child


def done(models, stage, epoch):
    try:
        text = (only_run(models) / METRICS).read_text()
    except (OSError, ValueError):
        return False
    return f'"stage": "{stage}", "epoch": {epoch}, "train_loss"' in text


for name, (stages, last, arguments) in json.loads(sys.argv[2]).items():
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    whole, models = folder / "whole" / "models", folder / "killed" / "models"
    assert main([*arguments, "--models", str(whole)]) == 0, name
    gc.freeze()
    child = begin([*arguments, "--models", str(models)], folder / "killed.log")
    for stage in stages:
        while not done(models, stage, 1):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), f"{name} ended before {stage}"
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not done(models, stage, last), "it was too quick"
        child = begin(["--resume", str(only_run(models))], folder / "killed.log")
    assert os.waitpid(child, 0)[1] == 0, name
"""
EPOCHS = 10
MANY = setting(f"epochs={EPOCHS}", f"patience={EPOCHS}", "average=0.9", "schedule=cosine", "dropout=0.2")
STAGES = {"generate": ["fit"], "classify": ["pretrain", "teacher 1", "teacher 2", "student"]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each of STAGES a folder: a run that was killed in every stage and resumed, and one that was left alone."""
    folder = tmp_path_factory.mktemp("killed")
    table, lines = write_labelled(folder / "data.csv", 100), write_text(folder / "more.txt", sentences(80, 2))
    taught = setting(*(f"{stage}.epochs={EPOCHS}" for stage in ("pretrain", "selftrain")), "selftrain.teachers=2", "ngrams=2")
    commands = {
        "generate": [*TINY_GENERATE, *MANY, *HELD_OUT, "--data", str(table)],
        "classify": [*TINY_CLASSIFY, *MANY, *HELD_OUT, *taught, "--data", str(table), "--unlabelled", str(lines)],
    }
    cases = {name: (stages, EPOCHS, commands[name]) for name, stages in STAGES.items()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), json.dumps(cases)], capture_output=True, text=True, timeout=240, env=environment
    )
    logs = "".join(path.read_text(encoding="utf-8")[-2000:] for path in folder.rglob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return folder


@pytest.mark.parametrize("name", STAGES)
def test_a_run_killed_in_mid_training_and_resumed_publishes_the_same_graph(killed: Path, name: str) -> None:
    whole, resumed = (load(*versions(killed / name / part / "models")) for part in ("whole", "killed"))
    assert resumed.graph == whole.graph
    assert resumed.manifest.scores == whole.manifest.scores
    assert resumed.manifest.training.epochs == whole.manifest.training.epochs


@pytest.mark.parametrize("name", STAGES)
def test_no_epoch_that_was_kept_is_trained_again(killed: Path, name: str) -> None:
    run = only_run(killed / name / "killed" / "models")
    for stage in STAGES[name]:
        found = epochs(run, stage)
        assert sorted(set(found)) == list(range(1, EPOCHS + 1))
        assert len(found) <= EPOCHS + 1  # the one under way when it was killed may have been told, and not yet kept
    assert not (run / "data").exists()
