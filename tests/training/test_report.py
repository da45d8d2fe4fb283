"""What a person sees of a run adds up, survives any text, and can be typed again."""

import io
import json
import shlex
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from service.artifact import Cell, Manifest, Score, load
from tests.builders import Small, publish_small, small_config, small_model
from training import report
from training.config import Config
from training.loop import Epoch
from training.model import count_parameters

HISTORY = [Epoch(1, 2.0, 2.5, 10.0), Epoch(2, 1.5, 2.0, 11.0), Epoch(3, 1.0, 2.2, 12.0)]
KINDS = [
    Small(cell="rnn", tied=False),
    Small(cell="gru", layers=2),
    Small(cell="lstm", embedding=16, hidden=16),
    Small(cell="lstm", embedding=12, hidden=16, tied=True),
    Small("classify", "gru", layers=2, bidirectional=True),
    Small("classify", "rnn", pooling="last", head="sigmoid"),
    Small("classify", "lstm", pooling="mean", labels=("a", "b", "c")),
]


def shown(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def png_size(image: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose every chunk is whole."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds = 8, []
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        assert struct.unpack(">I", image[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    width, height = struct.unpack(">II", image[16:24])
    return width, height


@pytest.fixture(scope="module", params=[Small(), Small("classify", "gru", bidirectional=True)], ids=lambda small: small.name)
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Manifest]:
    folder, small = tmp_path_factory.mktemp("described"), request.param
    path = publish_small(folder / "models", small, folder / "scratch")
    return small_config(small, folder / "scratch" / small.name), load(path).manifest


# Tables


@pytest.mark.parametrize("small", KINDS, ids=lambda small: f"{small.name}-{small.pooling}-{small.embedding}")
def test_the_parameters_of_the_layers_add_up_to_the_total(small: Small, tmp_path: Path) -> None:
    _, _, model = small_model(small, tmp_path)
    assert sum(parameters for _, _, parameters in report.summary_rows(model)) == count_parameters(model)
    assert f"{count_parameters(model):,}" in shown(report.summary_table(model))


@pytest.mark.parametrize(("cell", "parameters"), [("rnn", 12 * 16 + 16 * 16 + 16), ("lstm", 4 * (12 * 16 + 16 * 16 + 16))])
def test_every_layer_has_its_name_shape_and_parameters(cell: Cell, parameters: int, tmp_path: Path) -> None:
    _, corpus, model = small_model(Small(cell=cell, tied=False), tmp_path)
    words = corpus.tokenizer.vocabulary_size
    assert list(report.summary_rows(model)) == [
        ("embedding", "(B, T, 12)", 12 * words),
        (f"{cell} 1", "(B, T, 16)", parameters),
        ("output", f"(B, T, {words})", 16 * words + words),
    ]


def test_a_bidirectional_classifier_s_layers_are_twice_as_wide(tmp_path: Path) -> None:
    _, _, model = small_model(Small("classify", "gru", bidirectional=True, pooling="mean"), tmp_path)
    rows = list(report.summary_rows(model))
    assert [(name, shape) for name, shape, _ in rows[1:]] == [
        ("bigru 1", "(B, T, 32)"),
        ("mean pooling", "(B, 32)"),
        ("output, softmax", "(B, 2)"),
    ]


def test_the_data_table_says_what_there_is_to_learn_from(tmp_path: Path) -> None:
    config, corpus, _ = small_model(Small(), tmp_path)
    table = shown(report.data_table(corpus))
    assert config.task == "generate"
    for figure in ("41 / 0 / 0", str(corpus.tokenizer.vocabulary_size - 3), f"{corpus.predictions:,}", f"{corpus.longest} words"):
        assert figure in table


def test_the_data_table_of_a_classifier_names_its_labels(tmp_path: Path) -> None:
    _, corpus, _ = small_model(Small("classify", labels=("부정", "긍정", "중립")), tmp_path)
    assert "긍정, 부정, 중립" in shown(report.data_table(corpus))


@pytest.mark.parametrize("label", ["[/red]", "[bold]", "[link=x]", "\\[a]"])
def test_a_label_is_shown_as_it_is_written_whatever_it_looks_like(label: str, tmp_path: Path) -> None:
    _, corpus, _ = small_model(Small("classify", labels=("up", label)), tmp_path)
    assert label in shown(report.data_table(corpus))


def test_the_unknown_rate_is_the_share_of_training_words_outside_the_vocabulary(tmp_path: Path) -> None:
    _, corpus, _ = small_model(Small("classify"), tmp_path)
    unknown, known = corpus.tokenizer.unknown_id, corpus.train[0].ids[0]
    some = replace(corpus, train=[corpus.train[0]._replace(ids=[known, unknown, known, known])])
    assert report.unknown_rate(some) == 0.25
    assert report.unknown_rate(corpus) == 0


def test_the_score_table_has_every_score_beside_its_baseline() -> None:
    table = shown(
        report.score_table(
            [
                Score(metric="accuracy", split="test", value=0.9125, baseline="a guess", baseline_value=0.5),
                Score(metric="unknown word rate", split="test", value=0.01),
            ]
        )
    )
    for figure in ("accuracy", "0.9125", "0.5 (a guess)", "unknown word rate", "0.01"):
        assert figure in table


# Curves


@pytest.mark.parametrize(
    "history",
    [HISTORY, HISTORY[:1], [Epoch(n, 1 / n, None, 1.0) for n in range(1, 60)], [Epoch(1, 0.0, 0.0, 1.0)]],
    ids=["three epochs", "one epoch", "many epochs without a valid split", "nothing left to learn"],
)
def test_curves_are_a_real_picture(history: list[Epoch]) -> None:
    assert png_size(report.curves(history, history[-1], "a-model")) == (640, 400)


def test_the_same_history_draws_the_same_bytes_and_another_one_others() -> None:
    first = report.curves(HISTORY, HISTORY[1], "a-model")
    assert report.curves(HISTORY, HISTORY[1], "a-model") == first
    assert report.curves(HISTORY, HISTORY[2], "a-model") != first
    assert report.curves(HISTORY[:2], HISTORY[1], "a-model") != first


def test_drawing_leaves_no_figure_open() -> None:
    from matplotlib import pyplot

    report.curves(HISTORY, HISTORY[1], "a-model")
    assert pyplot.get_fignums() == []


# Model card


def test_the_card_says_how_the_model_was_made_and_what_it_scored(described: tuple[Config, Manifest]) -> None:
    config, manifest = described
    card = report.model_card(manifest)
    for text in (
        f"# {manifest.name}",
        manifest.description,
        f"POST /{manifest.task}",
        f"{manifest.sizes.parameters:,} parameters",
        config.source,
        f"seed {manifest.training.seed}",
        manifest.training.command,
        manifest.training.data_fingerprint,
        manifest.training.created,
        "curves.png",
    ):
        assert text in card
    assert all(f"| {score.metric} | {score.split} | {score.value:g} |" in card for score in manifest.scores)
    assert all(label in card for label in manifest.labels)


def test_the_card_s_request_can_be_typed_into_a_shell_whatever_the_text(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    text = """it's a "test" of $HOME `ls` \\ 한국어!"""
    golden = manifest.golden[0].model_copy(update={"text": text})
    card = report.model_card(manifest.model_copy(update={"golden": [golden]}))
    (line,) = [line for line in card.splitlines() if line.startswith("curl ")]
    words = shlex.split(line)
    assert f"localhost:8000/{manifest.task}" in words
    assert json.loads(words[words.index("-d") + 1]) == {"inputs": text, "model": manifest.name}


def test_the_card_shows_a_baseline_only_where_there_is_one(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    scores = [
        Score(metric="perplexity", split="test", value=12.5, baseline="bigrams", baseline_value=20),
        Score(metric="unknown word rate", split="test", value=0.25),
    ]
    card = report.model_card(manifest.model_copy(update={"scores": scores}))
    assert "| perplexity | test | 12.5 | 20 (bigrams) |" in card
    assert "| unknown word rate | test | 0.25 |  |" in card
