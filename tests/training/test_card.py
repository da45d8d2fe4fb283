"""training.card: says how the model came to be and what it is worth, and can be typed again."""

import json
import shlex

import pytest

from service.artifact import Manifest, Score, load
from tests.builders import Small, publish_small, small_config
from tests.training.corpora import evaluation_of
from training.card import model_card
from training.config import Config
from training.evaluate import Evaluation

NO_ANSWERS = Evaluation([], "test", [])
KINDS = [Small(), Small("classify", "gru", bidirectional=True), Small("classify", ngrams=3, tables="int8")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda small: small.name)
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Manifest]:
    folder, small = tmp_path_factory.mktemp("described"), request.param
    path = publish_small(folder / "models", small, folder / "scratch")
    return small_config(small, folder / "scratch" / small.name), load(path).manifest


def test_the_card_says_how_the_model_was_made_and_what_it_scored(described: tuple[Config, Manifest]) -> None:
    config, manifest = described
    card = model_card(manifest, NO_ANSWERS)
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
    assert ("runs of 1 to 3 characters" in card) == (manifest.ngrams is not None)
    assert ("8-bit" in card) == (manifest.tables == "int8")


def test_the_card_s_request_can_be_typed_into_a_shell_whatever_the_text(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    text = """it's a "test" of $HOME `ls` \\ 한국어!"""
    golden = manifest.golden[0].model_copy(update={"text": text})
    card = model_card(manifest.model_copy(update={"golden": [golden]}), NO_ANSWERS)
    (line,) = [line for line in card.splitlines() if line.startswith("curl ")]
    words = shlex.split(line)
    assert f"localhost:8000/{manifest.task}" in words
    assert json.loads(words[words.index("-d") + 1]) == {"inputs": text, "model": manifest.name}


def test_every_baseline_has_a_column_which_is_empty_where_it_says_nothing(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    scores = [
        Score(metric="perplexity", split="test", value=12.5, baselines={"5-grams": 20, "3-grams": 21.5}),
        Score(metric="unknown word rate", split="test", value=0.25),
    ]
    card = model_card(manifest.model_copy(update={"scores": scores}), NO_ANSWERS)
    assert "| metric | split | this model | 5-grams | 3-grams |" in card
    assert "| perplexity | test | 12.5 | 20 | 21.5 |" in card
    assert "| unknown word rate | test | 0.25 |  |  |" in card


@pytest.mark.parametrize("split", ["test", "train"])
def test_the_card_warns_of_scores_on_what_was_learnt_and_of_no_others(split: str, described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    score = Score.model_validate({"metric": "accuracy", "split": split, "value": 1})
    assert ("Nothing was held out" in model_card(manifest.model_copy(update={"scores": [score]}), NO_ANSWERS)) == (split == "train")


def test_the_card_says_what_version_the_model_beat_and_what_it_learnt_before_its_task(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    card = model_card(manifest, NO_ANSWERS, gate="beats version 3 by 0.02", pretraining="on 640,000 reviews")
    assert "\n\nBeats version 3 by 0.02.\n\n" in card
    assert "- Pre-trained: on 640,000 reviews" in card
    assert "Stopped early" not in card
    without = model_card(manifest, NO_ANSWERS)
    assert "version 3" not in without
    assert "Pre-trained" not in without


def test_the_card_says_what_ended_the_training_early(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    card = model_card(manifest, NO_ANSWERS, fault="fit: the loss is nan at batch 2 of epoch 3")
    assert "\n- Stopped early: fit: the loss is nan at batch 2 of epoch 3\n" in card


def test_a_classifier_s_card_shows_its_answers_and_every_label_by_number(described: tuple[Config, Manifest]) -> None:
    """The numbers are those of the confusion matrix where no font can write the labels."""
    _, manifest = described
    card = model_card(manifest, evaluation_of(["neg|ative", "긍정"]))
    assert "| 1 | neg\\|ative | " in card
    assert "| 2 | 긍정 | " in card
    assert "(confusion.png)" in card
    assert "(calibration.png)" in card
    assert "divided by a temperature of " in card
    assert "confusion.png" not in model_card(manifest, NO_ANSWERS)


def test_every_table_of_the_card_has_as_many_cells_in_every_line(described: tuple[Config, Manifest]) -> None:
    _, manifest = described
    card = model_card(manifest, evaluation_of(["a", "b\nc", "d|e"]))
    for block in card.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
