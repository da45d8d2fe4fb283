"""The command line: text in, a published model out; or one line on stderr, exit code 2 and nothing published."""

import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import numpy as np
import pytest
from accelerate import Accelerator

from service.artifact import load
from service.inference.runtime import Runtime, pad
from tests.training.commands import begin, metrics, only_run, runs, setting, succeeds, versions
from tests.training.samples import (
    TABLES,
    TINY,
    TINY_CLASSIFY,
    TINY_GENERATE,
    left_in,
    sentences,
    write_labelled,
    write_table,
    write_text,
)
from training.manifest import PACKAGES
from training.options import TRACKERS
from training.preset import preset_names
from training.run import main

ROOT = Path(__file__).parents[2]
FILES = {
    "generate": ["README.md", "curves.png", "manifest.json", "model.onnx", "tokenizer.json"],
    "classify": ["README.md", "calibration.png", "confusion.png", "curves.png", "manifest.json", "model.onnx", "tokenizer.json"],
}
Capture = pytest.CaptureFixture[str]
Refused = Callable[[Sequence[str]], str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def refused(models: Path, capfd: Capture) -> Refused:
    """Runs a command line that must fail as promised; gives the line."""

    def run(arguments: Sequence[str]) -> str:
        code = main([*arguments, "--models", str(models)])
        _, stderr = capfd.readouterr()
        assert code == 2
        assert stderr.startswith("error: ")
        assert stderr.endswith("\n")
        assert len(stderr.splitlines()) == 1
        assert not models.exists()
        return stderr

    return run


# Publishing


@pytest.fixture(scope="module", params=["generate", "classify"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One version trained from a file of one's own; tests must not change it."""
    folder = tmp_path_factory.mktemp("own")
    data = folder / ("문장 모음.txt" if request.param == "generate" else "문장 모음.csv")
    if request.param == "generate":
        write_text(data, sentences(60))
    else:
        write_labelled(data)
    arguments = [*TINY[request.param], "--data", str(data), "--name", "mine", "--set", "seed=5", "--set", "test_fraction=0.2"]
    return succeeds(arguments, folder / "models")


def test_a_run_on_one_s_own_data_publishes_just_the_files_of_its_task(published: Path) -> None:
    assert published.parts[-2:] == ("mine", "1")
    assert sorted(path.name for path in published.iterdir()) == FILES[load(published).manifest.task]
    assert [path.name for path in published.parents[1].iterdir()] == ["mine"]


def test_the_manifest_says_how_the_model_was_made(published: Path) -> None:
    manifest = load(published).manifest
    training = manifest.training
    assert training.preset == f"starter-{'next-word' if manifest.task == 'generate' else 'sentiment'}"
    assert (training.seed, training.epochs) == (5, 2)
    assert len(training.data_fingerprint) == 64
    assert set(training.packages) == set(PACKAGES)
    assert training.created.endswith("Z")
    assert manifest.sizes.hidden == 6
    assert manifest.labels == ([] if manifest.task == "generate" else ["down", "up"])
    assert manifest.golden


def test_the_manifest_s_command_trains_the_model_again_and_holds_no_absolute_path(published: Path) -> None:
    command = load(published).manifest.training.command
    assert command.startswith("python -m training.run --preset starter-")
    for part in ("문장 모음", "mine", "hidden=6", "epochs=2", "seed=5"):
        assert part in command
    assert "/" not in command
    assert str(published.parents[2]) not in (published / "manifest.json").read_text(encoding="utf-8")
    assert str(published.parents[2]) not in (published / "README.md").read_text(encoding="utf-8")


def test_the_manifest_is_json_that_people_can_read(published: Path) -> None:
    text = (published / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text)["name"] == "mine"
    assert len(text.splitlines()) > 50
    assert "\\u" not in text


def test_the_scores_are_in_the_manifest_and_on_the_card_beside_a_baseline(published: Path) -> None:
    manifest, card = load(published).manifest, (published / "README.md").read_text(encoding="utf-8")
    names = {"generate": ["perplexity", "unknown word rate"], "classify": ["accuracy", "macro F1"]}[manifest.task]
    assert [score.metric for score in manifest.scores][:2] == names
    assert all(score.split == "test" for score in manifest.scores)
    assert manifest.scores[0].baselines
    for score in manifest.scores:
        assert f"| {score.metric} | test | {score.value:g} |" in card
        assert all(f"| {name} |" in card for name in score.baselines)
    assert f"`{manifest.training.command}`" in card


def test_every_picture_is_a_real_png_and_on_the_card(published: Path) -> None:
    from matplotlib import image

    card = (published / "README.md").read_text(encoding="utf-8")
    pictures = sorted(published.glob("*.png"))
    assert pictures
    for path in pictures:
        pixels = image.imread(path, format="png")
        assert min(pixels.shape[:2]) >= 300
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10
        assert f"]({path.name})" in card


def test_what_a_run_published_is_served(published: Path) -> None:
    artifact = load(published)
    runtime = Runtime(artifact)
    encode = artifact.tokenizer.encode_prompt if artifact.manifest.task == "generate" else artifact.tokenizer.encode
    ids, lengths = pad([encode("the cat").ids], artifact.tokenizer.padding_id)
    if artifact.manifest.task == "generate":
        logits, _ = runtime.step(ids, lengths, runtime.initial_state(1))
    else:
        logits = runtime.classify(ids, lengths)
    assert logits.shape == (1, len(artifact.manifest.labels) or artifact.manifest.sizes.vocabulary)
    assert np.all(np.isfinite(logits))


def test_a_further_run_is_the_next_version(tmp_path: Path, models: Path) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    for _ in range(2):
        assert main([*TINY_GENERATE, "--data", str(data), "--models", str(models)]) == 0
    assert sorted(path.name for path in (models / "starter-next-word").iterdir()) == ["1", "2"]


def test_the_same_seed_gives_the_same_graph_byte_for_byte_and_another_seed_another(tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "data.csv")
    graphs = []
    for number, seed in enumerate((3, 3, 4)):
        path = succeeds([*TINY_CLASSIFY, "--data", str(data), "--set", f"seed={seed}"], tmp_path / str(number))
        graphs.append((path / "model.onnx").read_bytes())
    assert graphs[0] == graphs[1]
    assert graphs[0] != graphs[2]


def test_every_table_trains_the_same_classifier(tmp_path: Path) -> None:
    columns, rows = ("review text", "별점"), [(text, f"0{index % 2}") for index, text in enumerate(sentences(60))]
    made = []
    for suffix in TABLES:
        data = write_table(tmp_path / f"data{suffix}", rows, columns)
        arguments = [*TINY_CLASSIFY, "--data", str(data), "--text-column", columns[0], "--label-column", columns[1]]
        made.append(load(succeeds(arguments, tmp_path / f"models{suffix}")))
    assert [model.manifest.labels for model in made] == [["00", "01"]] * len(TABLES)
    assert len({model.manifest.training.data_fingerprint for model in made}) == 1
    assert len({model.graph for model in made}) == 1


def test_lines_and_tables_train_the_same_model_that_generates(tmp_path: Path) -> None:
    graphs = set()
    for suffix in (".txt", ".csv", ".jsonl"):
        data = tmp_path / f"data{suffix}"
        if suffix == ".txt":
            write_text(data, sentences(60))
        else:
            write_labelled(data)
        graphs.add(load(succeeds([*TINY_GENERATE, "--data", str(data)], tmp_path / f"models{suffix}")).graph)
    assert len(graphs) == 1


def test_a_folder_of_train_valid_and_test_is_taken_as_it_is_split(tmp_path: Path, models: Path) -> None:
    texts = sentences(60)
    for name, part in (("train.csv", texts[:40]), ("valid.tsv", texts[40:50]), ("test.jsonl", texts[50:])):
        write_table(tmp_path / "data" / name, [(text, ("up", "down")[index % 2]) for index, text in enumerate(part)])
    path = succeeds([*TINY_CLASSIFY, "--data", str(tmp_path / "data")], models)
    training = load(path).manifest.training
    assert training.data == "data: 40 rows to train, 10 to choose on, 10 to test"
    assert "--data data" in training.command


def test_texts_of_any_length_can_be_trained_on(tmp_path: Path, models: Path) -> None:
    """Reviews of many sentences, say: golden examples must not need a short one."""
    rows = [
        (f"{text} {text} {text} {text} {text}" + " 그리고 또" * 10, label)
        for text, label in zip(sentences(40), ["a", "b"] * 20, strict=True)
    ]
    assert min(len(text) for text, _ in rows) > 60
    path = succeeds([*TINY_CLASSIFY, "--data", str(write_table(tmp_path / "data.csv", rows))], models)
    assert load(path).manifest.golden


@pytest.mark.parametrize("count", [2, 21])
def test_how_a_classifier_fares_label_by_label_is_shown_where_a_screen_can_hold_it(
    tmp_path: Path, models: Path, capsys: Capture, count: int
) -> None:
    labels = [f"label-{number}" for number in range(count)]
    succeeds([*TINY_CLASSIFY, "--data", str(write_labelled(tmp_path / "data.csv", 12 * count, labels))], models)
    assert ("precision" in capsys.readouterr().out) == (count == 2)


def test_labels_of_any_kind_can_be_trained_on(tmp_path: Path, models: Path) -> None:
    labels = ["[/b]", "[red]", "a|b", "🙂 emoji", "it's", "0"]
    path = succeeds([*TINY_CLASSIFY, "--data", str(write_labelled(tmp_path / "data.csv", 240, labels))], models)
    assert load(path).manifest.labels == sorted(labels)


def test_a_model_may_have_a_number_for_a_name(tmp_path: Path, models: Path) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    assert succeeds([*TINY_GENERATE, "--data", str(data), "--name", "2024"], models) == models / "2024" / "1"


def test_a_models_folder_may_be_called_anything_and_is_shown_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    path = succeeds([*TINY_GENERATE, "--data", str(data)], tmp_path / "모델 [" / "red]")
    assert f"published {path}" in capsys.readouterr().out


# Every pooling, with n-grams and without, and whatever else a classifier may be.
CLASSIFIERS = [
    ("head=softmax", "pooling=last", "ngrams=0"),
    ("head=sigmoid", "pooling=mean", "ngrams=2", "max_words=8"),
    ("pooling=max", "ngrams=4", "max_words=8", "tables=int8"),
    ("pooling=attention", "ngrams=3", "max_words=8", "label_smoothing=0.1", "average=0.9"),
    ("pooling=concat", "ngrams=1", "max_words=8", "tables=int8", "class_weights=balanced", "precision=bfloat16"),
    ("pooling=attention", "tables=int8", "bidirectional=false", "ngrams=0"),
    ("pooling=concat", "unit=char", "ngrams=0"),
    ("pooling=mean", "unit=subword", "max_words=20", "ngrams=2"),
    ("pooling=last", "ngrams=2", "max_words=8", "cell=lstm", "layers=2"),
]


@pytest.mark.parametrize("settings", CLASSIFIERS, ids=" ".join)
def test_every_classifier_can_be_trained_and_published(tmp_path: Path, models: Path, settings: tuple[str, ...]) -> None:
    data = write_labelled(tmp_path / "data.csv")
    asked = dict(pair.split("=") for pair in settings)
    table = [] if asked["ngrams"] == "0" else ["buckets=50"]
    artifact = load(succeeds([*TINY_CLASSIFY, "--data", str(data), *setting(*table, *settings)], models))
    manifest = artifact.manifest
    assert manifest.outputs[0].shape == ["batch", 2]
    assert manifest.pooling == asked["pooling"]
    assert manifest.tables == asked.get("tables", "float32")
    assert manifest.unit == asked.get("unit", "word")
    assert (manifest.ngrams.longest if manifest.ngrams else 0) == int(asked["ngrams"])
    assert np.isfinite(Runtime(artifact).classify_texts([artifact.encode("오늘 낯선말 the unseen")])).all()


LANGUAGE_MODELS = [
    ("unit=char", "sentence_end=true"),
    ("unit=subword", "max_words=30"),
    ("mode=stream", "window=5", "batch_size=4", "sentence_end=true", "tied=true"),
    ("mode=stream", "window=9", "batch_size=3", "unit=char", "valid_fraction=0.2", "test_fraction=0.3"),
    ("tables=int8", "tied=true", "cell=lstm", "weight_dropout=0.2", "dropout=0.2", "word_dropout=0.1", "average=0.9"),
]


@pytest.mark.parametrize("settings", LANGUAGE_MODELS, ids=" ".join)
def test_every_language_model_can_be_trained_and_published(tmp_path: Path, models: Path, settings: tuple[str, ...]) -> None:
    data = write_text(tmp_path / "data.txt", sentences(80))
    artifact = load(succeeds([*TINY_GENERATE, "--data", str(data), *setting(*settings)], models))
    asked = dict(pair.split("=") for pair in settings)
    assert artifact.manifest.unit == asked.get("unit", "word")
    assert artifact.manifest.tables == asked.get("tables", "float32")
    assert artifact.manifest.scores[0].metric == "perplexity"
    Runtime(artifact)  # it gives its golden answers


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_data_set_of_the_hub_trains_what_its_files_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [(text, ("up", "down")[index % 2]) for index, text in enumerate(sentences(60))]
    for folder, valid in (("hub", "validation"), ("plain", "valid")):
        for name, part in (("train", rows[:40]), (valid, rows[40:50]), ("test", rows[50:])):
            write_table(tmp_path / folder / f"{name}.csv", part)
    hub, plain = (
        load(succeeds([*TINY[task], "--data", data], tmp_path / f"models-{number}"))
        for number, data in enumerate((f"hub:{tmp_path / 'hub'}", str(tmp_path / "plain")))
    )
    assert hub.graph == plain.graph
    assert hub.manifest.training.data == "hub:hub: 40 rows to train, 10 to choose on, 10 to test"
    assert "--data hub:hub " in hub.manifest.training.command
    assert str(tmp_path) not in hub.manifest.model_dump_json()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_cell_in_layers_can_be_trained_and_published(tmp_path: Path, models: Path, cell: str) -> None:
    data = write_text(tmp_path / "data.txt", sentences(60))
    more = ["--set", f"cell={cell}", "--set", "layers=2", "--set", "tied=true", "--set", "sentence_end=true"]
    manifest = load(succeeds([*TINY_GENERATE, "--data", str(data), *more], models)).manifest
    assert (manifest.cell, manifest.layers, manifest.special_ids.end) == (cell, 2, 2)


def test_without_arguments_both_starter_models_are_trained_and_published(models: Path, capfd: Capture) -> None:
    assert main(["--models", str(models)]) == 0
    out, stderr = capfd.readouterr()
    assert left_in(models) == sorted(
        part
        for name, task in (("starter-next-word", "generate"), ("starter-sentiment", "classify"))
        for part in (name, f"{name}/1", *(f"{name}/1/{file}" for file in FILES[task]))
    )
    assert stderr == ""
    assert out.count("published ") == 2
    scores = {name: load(models / name / "1").manifest.scores for name in ("starter-next-word", "starter-sentiment")}
    perplexity, accuracy = scores["starter-next-word"][0], scores["starter-sentiment"][0]
    assert perplexity.value < 1.5  # it has learnt its three sentences
    assert accuracy.split == "test"
    assert accuracy.value > 0.5


# Looking before training


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_dry_run_shows_what_the_data_are_like_and_leaves_nothing_behind(
    tmp_path: Path, models: Path, capsys: Capture, task: str
) -> None:
    """A text of test that train has too is among them."""
    texts = sentences(60)
    for name, part in (("train", texts[:40]), ("valid", texts[40:50]), ("test", [*texts[50:], texts[0], "unheard of"])):
        write_table(tmp_path / "data" / f"{name}.csv", [(text, ("up", "down")[i % 2]) for i, text in enumerate(part)])
    before = left_in(tmp_path)
    assert begin([*TINY[task], "--data", str(tmp_path / "data"), "--dry-run"], models) == 0
    out = capsys.readouterr().out
    for pattern in (r"rows\W+40\W+10\W+12\W", r"unknown words\W+0\.0%", r"in train too\W+0\W+1 \(8\.3%\)", "14 words known"):
        assert re.search(pattern, out), pattern
    assert ("label up" in out) == (task == "classify")
    assert ("next words to predict" in out) == (task == "generate")
    assert "Model" not in out
    assert left_in(tmp_path) == before


def test_a_dry_run_counts_in_the_unit_of_the_model(tmp_path: Path, models: Path, capsys: Capture) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    assert begin([*TINY_GENERATE, "--data", str(data), "--dry-run", *setting("unit=char")], models) == 0
    assert "characters known" in capsys.readouterr().out


def test_a_dry_run_says_what_the_preset_does_without_and_a_run_does_too(tmp_path: Path, models: Path, capsys: Capture) -> None:
    data = write_labelled(tmp_path / "data.csv")
    small = setting("hidden=6", "embedding=5", "buckets=50", "epochs=1", "batch_size=16", "pretrain.epochs=0", "max_words=50")
    arguments = ["--preset", "korean-sentiment", "--data", str(data), "--text-column", "text", *small]
    for more in (["--dry-run"], []):
        assert begin([*arguments, *more], models) == 0
        assert capsys.readouterr().out.count("no self-training: the preset korean-sentiment ") == 1


def test_a_dry_run_of_bad_data_is_one_line(refused: Refused, tmp_path: Path) -> None:
    assert "is empty" in refused([*TINY_CLASSIFY, "--data", str(write_text(tmp_path / "a.csv", [])), "--dry-run"])


# Beside the version that serves

Ends = list[tuple[int, str]]


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ends]:
    """A models folder, and how each run for it ended: a good model, a bad one, it again all the same, another good one."""
    folder = tmp_path_factory.mktemp("rivals")
    rows = [(text, "up" if "좋다" in text else "down") for text in sentences(120)]
    data = write_table(folder / "data.csv", rows)  # one word tells the label
    common = [*TINY_CLASSIFY, "--data", str(data), *setting("test_fraction=0.2", "learning_rate=0.05", "epochs=12")]
    ends = []

    def run(*arguments: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = begin(arguments, folder / "models")
        ends.append((code, said.getvalue()))

    run(*common)
    run(*common, *setting("epochs=1", "learning_rate=1e-5"))
    run("--resume", str(runs(folder / "models")[-1]), "--publish", "always")
    run(*common, *setting("seed=2"))
    return folder / "models", ends


def test_the_first_version_has_none_to_beat(rivals: tuple[Path, Ends]) -> None:
    code, said = rivals[1][0]
    assert code == 0
    assert "there is no version of starter-sentiment to compare with" in said


def test_a_worse_model_ends_with_3_and_both_figures_and_is_kept_whole_in_its_run(rivals: tuple[Path, Ends]) -> None:
    models, ends = rivals
    code, said = ends[1]
    assert code == 3
    assert re.search(r"worse than version 1: accuracy 0\.\d+ against 1 on \d+ test rows", said)
    (kept,) = models.parent.glob("runs/*/model/*/*")
    assert f"not published; it is kept in {kept}" in said
    assert f"python -m training.run --resume {kept.parents[2]} --publish always" in said
    Runtime(load(kept))


def test_a_worse_model_is_published_all_the_same_where_it_is_asked_for(rivals: tuple[Path, Ends]) -> None:
    models, ends = rivals
    code, said = ends[2]
    assert code == 0
    assert "worse than version 1: " in said
    (kept,) = models.parent.glob("runs/*/model/*/*")
    asked_for = models / "starter-sentiment" / "2"
    assert load(asked_for).graph == load(kept).graph
    assert "Worse than version 1: " in (asked_for / "README.md").read_text(encoding="utf-8")


def test_a_better_model_says_which_version_it_beats_and_by_how_much(rivals: tuple[Path, Ends]) -> None:
    models, ends = rivals
    code, said = ends[3]
    assert code == 0
    assert re.search(r"beats version 2 by 0\.\d+: accuracy 1 against 0\.\d+ on \d+ test rows", said)
    assert [path.name for path in versions(models)] == ["1", "2", "3"]
    assert "Beats version 2 by" in (models / "starter-sentiment" / "3" / "README.md").read_text(encoding="utf-8")


def test_what_is_never_to_be_published_is_kept_in_its_run_and_the_models_folder_is_not_even_made(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    assert begin([*TINY_GENERATE, "--data", str(data), "--publish", "never"], models) == 0
    assert "not published; it is kept in" in capsys.readouterr().out
    assert not models.exists()
    Runtime(load(only_run(models) / "model" / "starter-next-word" / "1"))


def test_without_a_test_split_a_further_version_is_published_and_says_why_it_was_not_compared(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    for seed in (1, 2):
        assert begin([*TINY_GENERATE, "--data", str(data), *setting(f"seed={seed}")], models) == 0
    assert "nothing was held out to test on, so it was not compared with version 1" in capsys.readouterr().out
    assert [path.name for path in versions(models)] == ["1", "2"]


def test_another_task_under_the_same_name_is_not_published(tmp_path: Path, models: Path, capsys: Capture) -> None:
    data = write_labelled(tmp_path / "data.csv")
    assert begin([*TINY_GENERATE, "--data", str(data), "--name", "mine"], models) == 0
    assert begin([*TINY_CLASSIFY, "--data", str(data), "--name", "mine"], models) == 3
    assert "version 1 is for /generate, this model for /classify: give it a name of its own" in capsys.readouterr().out
    assert [path.name for path in versions(models)] == ["1"]


def test_labels_that_the_preset_has_no_names_for_are_compared_as_they_are(tmp_path: Path, models: Path, capsys: Capture) -> None:
    """korean-sentiment calls 0 negative; data with three labels are not its own."""
    data = write_labelled(tmp_path / "data.csv", 120, labels=("0", "1", "2"))
    small = setting("hidden=6", "embedding=5", "buckets=50", "epochs=1", "batch_size=16", "pretrain.epochs=0", "test_fraction=0.3")
    for seed in (1, 2):
        arguments = ["--preset", "korean-sentiment", "--data", str(data), "--text-column", "text", *small]
        begin([*arguments, *setting(f"seed={seed}")], models)
    found = re.search(r"accuracy ([\d.]+) against ([\d.]+) on", capsys.readouterr().out)
    assert found
    scored = {load(path).manifest.scores[0].value for path in tmp_path.rglob("korean-sentiment/[12]")}
    assert {round(float(figure), 3) for figure in found.groups()} == {round(value, 3) for value in scored}


# Figures for other eyes


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_done(
    refused: Refused, tmp_path: Path, tracker: str
) -> None:
    if importlib.util.find_spec(tracker):
        pytest.skip("it is installed")
    data = write_labelled(tmp_path / "data.csv")
    assert f"--track {tracker}: is not installed" in refused([*TINY_CLASSIFY, "--data", str(data), "--track", tracker])
    assert left_in(tmp_path) == ["data.csv"]


def test_tensorboard_gets_the_figures(tmp_path: Path, models: Path) -> None:
    pytest.importorskip("tensorboard")
    data = write_labelled(tmp_path / "data.csv")
    succeeds([*TINY_CLASSIFY, "--data", str(data), "--track", "tensorboard"], models)
    assert list(only_run(models).glob("events.out.tfevents.*"))


def test_a_tracker_gets_what_the_run_came_to_under_names_that_every_one_takes(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: dict[str, float] = {}

    def log(accelerator: Accelerator, values: dict[str, float], step: int | None = None) -> None:
        logged.update(values)

    monkeypatch.setattr(Accelerator, "log", log)
    data = write_labelled(tmp_path / "data.csv", labels=("it's/up", "down|"))
    scores = load(succeeds([*TINY_CLASSIFY, "--data", str(data)], models)).manifest.scores
    assert {logged[f"test/{score.metric}"] for score in scores if score.metric == "accuracy"} == {scores[0].value}
    assert "test/accuracy of TF-IDF over words" in logged
    assert all(re.fullmatch(r"[/\w.\- :]*", name) for name in logged)  # what MLflow takes
    assert all(isinstance(value, float) for name, value in logged.items() if name.startswith("test/"))


# Failing


def test_data_that_is_not_there_is_one_line(refused: Refused, tmp_path: Path) -> None:
    assert "there is no such file" in refused([*TINY_GENERATE, "--data", str(tmp_path / "none.txt")])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", "", "the file is empty"),
        ("blank.csv", "text,label\n ,up\n,down\n", "no row has any text"),
        ("words.docx", "text", "not one of .txt, .csv, .tsv, .jsonl, .parquet"),
        ("one-class.csv", "text,label\n" + "".join(f"{text},up\n" for text in sentences(40)), "every row has the label 'up'"),
        ("no-column.csv", "body,stars\na b,up\n", "there are body, stars"),
        (
            "few.csv",
            "text,label\n" + "".join(f"{text},up\n{text} not,down\n" for text in sentences(6)),
            "less than one batch of 16",
        ),
        ("lines.txt", "a b\nc d\n", "a .txt file has no labels"),
        ("broken.csv", "text,label\na,up\nb,down,what,is,this\n", "a row has 5 cells where there are 2 columns"),
        ("open.csv", 'text,label\n"a,up\nb,down\n', "a quote is opened and never closed"),
        ("broken.jsonl", '{"text": "a", "label": "up"}\n{"text": "b"', "line 2 is not JSON"),
        ("broken.parquet", "PAR1 it is not", "cannot be read"),
        ("endless.csv", '"' + "a" * 200_000, "endless.csv"),
    ],
)
def test_bad_data_is_one_line_that_names_the_file(refused: Refused, tmp_path: Path, name: str, content: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    line = refused([*TINY_CLASSIFY, "--data", str(path)])
    assert said in line
    assert str(path) in line


@pytest.mark.parametrize("word", ["no", "1", "2024", "null", "on", "#", "a: b", "1e3", "2024-01-01", "it's"])
def test_what_is_typed_as_a_column_is_its_name_and_never_a_value(refused: Refused, tmp_path: Path, word: str) -> None:
    data = write_table(tmp_path / "data.csv", [("a", "up")])
    for option in ("--text-column", "--label-column"):
        assert f"there is no column {word!r}" in refused([*TINY_CLASSIFY, "--data", str(data), option, word])


def test_a_label_in_the_test_file_alone_is_one_line_that_names_it(refused: Refused, tmp_path: Path) -> None:
    write_labelled(tmp_path / "data" / "train.csv")
    write_labelled(tmp_path / "data" / "test.csv", 4, labels=("up", "sideways"))
    line = refused([*TINY_CLASSIFY, "--data", str(tmp_path / "data")])
    assert "'sideways'" in line
    assert "test" in line


def test_a_folder_without_data_is_one_line(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert str(tmp_path / "data") in refused([*TINY_CLASSIFY, "--data", str(tmp_path / "data")])


@pytest.mark.parametrize("preset", [name for name in preset_names() if not name.startswith("starter-")])
def test_a_preset_whose_data_is_not_shipped_asks_for_it_and_says_where_it_is(refused: Refused, preset: str) -> None:
    line = refused(["--preset", preset])
    assert "--data PATH" in line
    assert "Its source: " in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "none"], "--preset none"),
        (["--set", "hiden=3"], "--set hiden"),
        (["--set", "model.hidden=many"], "model.hidden"),
        (["--set", "hidden"], "key=value"),
        (["--set", "description=2024-13-45"], "description"),
        (["--preset", "starter-next-word", "--set", "bidirectional=true"], "model.bidirectional"),
        (["--name", "Not allowed"], "name"),
        (["--name", "../up"], "name"),
        (["--data", ""], "--data"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_fault(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused(arguments)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_models_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path, capfd: Capture, below: str) -> None:
    (tmp_path / "models").write_text("a file in the way", encoding="utf-8")
    data = write_text(tmp_path / "data.txt", sentences(40))
    assert main([*TINY_GENERATE, "--data", str(data), "--models", str(tmp_path / "models" / below)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'models' / below}: ")
    assert left_in(tmp_path) == ["data.txt", "models"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_models_folder_that_may_not_be_written_to_is_one_line(tmp_path: Path, models: Path, capfd: Capture) -> None:
    models.mkdir(mode=0o500)
    data = write_text(tmp_path / "data.txt", sentences(40))
    assert main([*TINY_GENERATE, "--data", str(data), "--models", str(models)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {models}: ")
    assert left_in(models) == []


# Weights that grow manifold at every step: a loss that is no number is certain, and when it comes is too.
RUINED = setting("optimiser=adamw", "learning_rate=0.01")


@pytest.mark.parametrize("task", ["generate", "classify"])
@pytest.mark.parametrize("decay", ["1e20", "1e300"])
def test_a_loss_that_is_no_number_in_the_first_epoch_is_one_line_that_says_where(
    refused: Refused, tmp_path: Path, task: str, decay: str
) -> None:
    data = write_labelled(tmp_path / "data.csv")
    line = refused([*TINY[task], "--data", str(data), *RUINED, *setting(f"weight_decay={decay}")])
    assert re.match(r"error: the (validation )?loss is (nan|inf) at (batch \d+|the end) of epoch 1; ", line)
    assert "learning_rate" in line
    assert runs(tmp_path / "models") == []


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_weights_that_are_ruined_by_the_last_step_are_one_line(refused: Refused, tmp_path: Path, task: str) -> None:
    data = write_labelled(tmp_path / "data.csv", 40)
    more = setting("weight_decay=1e300", "epochs=1", "batch_size=40", "valid_fraction=0", "test_fraction=0")
    line = refused([*TINY[task], "--data", str(data), *RUINED, *more])
    assert "no longer numbers at the end of epoch 1" in line


def test_a_score_that_no_one_could_read_is_one_line(refused: Refused, tmp_path: Path) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    more = setting("weight_decay=1e8", "epochs=1", "batch_size=40")
    assert "nats a word" in refused([*TINY_GENERATE, "--data", str(data), *RUINED, *more])


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_loss_that_is_no_number_after_a_good_epoch_publishes_that_one_and_says_where_it_was(
    tmp_path: Path, models: Path, capsys: Capture, task: str
) -> None:
    """Steps that make all weights three times as large, an epoch each."""
    data = write_labelled(tmp_path / "data.csv", 40)
    more = setting("weight_decay=400", "epochs=200", "patience=200", "batch_size=40", "valid_fraction=0", "test_fraction=0")
    path = succeeds([*TINY[task], "--data", str(data), *RUINED, *more], models)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("stopped early: ")]
    found = re.fullmatch(r"stopped early: the (?:loss is (?:nan|inf) at batch 1 of|.* at the end of) epoch (\d+); .*", line)
    assert found, line
    assert "; the best epoch before it, " in line
    assert 2 < int(found[1]) < 200
    assert load(path).manifest.training.epochs == int(found[1]) - 1
    fault = line.removeprefix("stopped early: ")
    assert f"\n- Stopped early: fit: {fault}\n" in (path / "README.md").read_text(encoding="utf-8")
    (recorded,) = [line for line in metrics(only_run(models)) if line["stage"] == "fault"]
    assert (recorded["of"], recorded["said"]) == ("fit", fault)


def test_where_the_second_of_two_models_cannot_be_trained_the_first_is_not_published_either(
    refused: Refused, tmp_path: Path
) -> None:
    """Without a preset there are two models; sentences without labels are data for one of them."""
    data = write_text(tmp_path / "data.txt", sentences(40))
    refused(["--data", str(data), "--set", "epochs=1", "--set", "batch_size=16"])


def test_two_models_are_never_published_under_one_name(tmp_path: Path, models: Path) -> None:
    main(["--name", "mine", "--set", "epochs=1", "--models", str(models)])
    assert len(list(models.glob("*/*"))) < 2


@pytest.mark.parametrize("key", ["data.train", " valid "])
def test_a_data_file_that_was_set_by_key_leaves_no_folder_in_what_is_published(tmp_path: Path, models: Path, key: str) -> None:
    train, other = write_text(tmp_path / "train.txt", sentences(40, 1)), write_text(tmp_path / "other.txt", sentences(40, 2))
    path = succeeds([*TINY_GENERATE, "--data", str(train), "--set", f"{key}={other}"], models)
    assert "other.txt" in load(path).manifest.training.command
    for name in ("manifest.json", "README.md"):
        assert str(tmp_path) not in (path / name).read_text(encoding="utf-8")


def test_data_of_one_s_own_is_not_said_to_be_the_starter_s(tmp_path: Path, models: Path) -> None:
    data = write_text(tmp_path / "data.txt", sentences(40))
    path = succeeds([*TINY_GENERATE, "--data", str(data)], models)
    assert load(path).manifest.training.data == "data.txt: 40 rows to train, 0 to choose on, 0 to test"
    card = (path / "README.md").read_text(encoding="utf-8")
    assert "- Data: data.txt: 40 rows to train" in card
    assert "- The preset's own data: training/starter/next-word.txt" in card


# The command itself


def test_help_names_every_option_and_every_preset(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    options = ("--help", "--preset", "--data", "--unlabelled", "--text-column", "--label-column", "--name", "--set", "--models")
    for option in (*options, "--runs", "--resume", "--publish", "--dry-run", "--track"):
        assert option in text
    for word in (*preset_names(), ".txt", *TABLES, "exit codes", "Under torchrun", "KEY=VALUE"):
        assert word in text


def test_an_unknown_option_is_refused_by_name_with_exit_code_2(capsys: Capture, models: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--modles", str(models)])
    assert end.value.code == 2
    assert "--modles" in capsys.readouterr().err


def test_the_command_ends_with_2_and_one_line_on_stderr_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Nothing that is imported says anything of its own."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "training.run",
            *TINY_CLASSIFY,
            "--data",
            str(write_text(tmp_path / "a.csv", ["body,label", "a,b"])),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "there are body, label" in line
