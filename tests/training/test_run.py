"""The command line: text in, a published model out; or one line on stderr, exit code 2 and nothing published."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from service.artifact import load
from service.inference.runtime import Runtime, pad
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
from training.config import preset_names
from training.manifest import PACKAGES
from training.run import main

ROOT = Path(__file__).parents[2]
FILES = ["README.md", "curves.png", "manifest.json", "model.onnx", "tokenizer.json"]
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


def succeeds(arguments: Sequence[str], models: Path) -> Path:
    """The one version that a command line published."""
    assert main([*arguments, "--models", str(models)]) == 0
    (version,) = [path for name in models.iterdir() for path in name.iterdir()]
    return version


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


def test_a_run_on_one_s_own_data_publishes_just_the_five_files(published: Path) -> None:
    assert published.parts[-2:] == ("mine", "1")
    assert sorted(path.name for path in published.iterdir()) == FILES
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
    metrics = {"generate": ["perplexity", "unknown word rate"], "classify": ["accuracy", "macro F1"]}[manifest.task]
    assert [score.metric for score in manifest.scores] == metrics
    assert all(score.split == "test" for score in manifest.scores)
    assert manifest.scores[0].baseline_value is not None
    assert all(f"| {score.metric} | test | {score.value:g} |" in card for score in manifest.scores)
    assert f"`{manifest.training.command}`" in card


def test_the_curves_are_a_real_png(published: Path) -> None:
    from matplotlib import image

    pixels = image.imread(published / "curves.png", format="png")
    assert pixels.shape[:2] == (400, 640)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


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


def test_a_folder_of_train_valid_and_test_is_taken_as_it_is_split(tmp_path: Path, models: Path, capsys: Capture) -> None:
    texts = sentences(60)
    for name, part in (("train.csv", texts[:40]), ("valid.tsv", texts[40:50]), ("test.jsonl", texts[50:])):
        write_table(tmp_path / "data" / name, [(text, ("up", "down")[index % 2]) for index, text in enumerate(part)])
    path = succeeds([*TINY_CLASSIFY, "--data", str(tmp_path / "data")], models)
    assert "40 / 10 / 10" in capsys.readouterr().out
    assert "--data data" in load(path).manifest.training.command


def test_texts_of_any_length_can_be_trained_on(tmp_path: Path, models: Path) -> None:
    """Reviews of many sentences, say: golden examples must not need a short one."""
    rows = [
        (f"{text} {text} {text} {text} {text}" + " 그리고 또" * 10, label)
        for text, label in zip(sentences(40), ["a", "b"] * 20, strict=True)
    ]
    assert min(len(text) for text, _ in rows) > 60
    path = succeeds([*TINY_CLASSIFY, "--data", str(write_table(tmp_path / "data.csv", rows))], models)
    assert load(path).manifest.golden


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


@pytest.mark.parametrize(("head", "pooling"), [("softmax", "last"), ("sigmoid", "mean"), ("softmax", "max")])
def test_every_head_and_pooling_can_be_trained_and_published(tmp_path: Path, models: Path, head: str, pooling: str) -> None:
    data = write_labelled(tmp_path / "data.csv")
    path = succeeds([*TINY_CLASSIFY, "--data", str(data), "--set", f"head={head}", "--set", f"pooling={pooling}"], models)
    assert load(path).manifest.outputs[0].shape == ["batch", 2]


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
        for name in ("starter-next-word", "starter-sentiment")
        for part in (name, f"{name}/1", *(f"{name}/1/{file}" for file in FILES))
    )
    assert stderr == ""
    assert out.count("published") == 2
    scores = {name: load(models / name / "1").manifest.scores for name in ("starter-next-word", "starter-sentiment")}
    perplexity, accuracy = scores["starter-next-word"][0], scores["starter-sentiment"][0]
    assert perplexity.value < 1.5  # it has learnt its three sentences
    assert accuracy.split == "test"
    assert accuracy.value > 0.5


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
        ("broken.csv", "text,label\na,up\nb,down,what,is,this\n", "cannot be read"),
        ("open.csv", 'text,label\n"a,up\nb,down\n', "cannot be read"),
        ("broken.jsonl", '{"text": "a", "label": "up"}\n{"text": "b"', "cannot be read"),
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


@pytest.mark.parametrize(
    ("optimiser", "rate", "batch"),
    [
        ("sgd", "1e4", 16),
        ("adam", "1e4", 40),
        ("sgd", "1e30", 16),
        ("sgd", "1e38", 40),
        ("adam", "1e38", 16),
        ("adam", "1e308", 40),
    ],
)
def test_a_learning_rate_that_is_far_too_large_is_one_line(
    refused: Refused, tmp_path: Path, optimiser: str, rate: str, batch: int
) -> None:
    """Whether the loss becomes no number, or one too large for a score, or only the weights of the last step are none."""
    data = write_text(tmp_path / "data.txt", sentences(40))
    settings = [f"learning_rate={rate}", f"optimiser={optimiser}", f"batch_size={batch}", "epochs=1"]
    line = refused([*TINY_GENERATE, "--data", str(data), *(word for setting in settings for word in ("--set", setting))])
    assert "learning_rate" in line


def test_a_classifier_whose_weights_are_ruined_by_its_last_step_is_one_line(refused: Refused, tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "data.csv", 40)
    more = ["learning_rate=1e308", "epochs=1", "batch_size=40", "valid_fraction=0", "test_fraction=0"]
    refused([*TINY_CLASSIFY, "--data", str(data), *(word for setting in more for word in ("--set", setting))])


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
    for option in ("--help", "--preset", "--data", "--text-column", "--label-column", "--name", "--set", "--models"):
        assert option in text
    for word in (*preset_names(), ".txt", *TABLES, "exit codes", "KEY=VALUE"):
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
