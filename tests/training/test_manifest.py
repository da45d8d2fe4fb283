"""manifest.json says of a model what is true of it, and brings examples by which a reader can tell."""

from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from service import artifact
from service.artifact import Manifest
from tests.builders import Small, small_config, small_model
from tests.training.samples import sentences, write_table
from training.config import Config, TextConfig
from training.data import load_corpus
from training.export import export_classifier, export_language_model
from training.loop import Epoch, Fitted
from training.manifest import GOLDEN_CHARACTERS, GOLDEN_EXAMPLES, describe
from training.model import LanguageModel, count_parameters
from training.run import build_model

HISTORY = [Epoch(1, 2.0, None, 1.0), Epoch(2, 3.0, None, 1.0)]


def described(config: Config) -> Manifest:
    """The manifest of an untrained model that had two epochs."""
    corpus = load_corpus(config)
    model = build_model(config, corpus).eval()
    exported = export_language_model(model) if isinstance(model, LanguageModel) else export_classifier(model, len(corpus.labels))
    return describe(config, corpus, model, exported, Fitted(HISTORY, HISTORY[0], 12.34), [], "a-preset", "a command")


def classify(train: Path, **data: object) -> Config:
    """A small classifier of a file of one's own, of which nothing is held out unless asked for."""
    config = small_config(Small("classify"), train.parent / "scratch")
    own = config.data.model_copy(update={"train": str(train), **data})
    return config.model_copy(update={"data": own, "fit": config.fit.model_copy(update={"batch_size": 2})})


@pytest.mark.parametrize(
    "small",
    [Small(cell="rnn"), Small(cell="lstm", layers=2), Small("classify", "gru", bidirectional=True, pooling="mean")],
    ids=lambda small: small.name,
)
def test_a_manifest_says_what_the_model_is(small: Small, tmp_path: Path) -> None:
    config, corpus, model = small_model(small, tmp_path)
    manifest, tokenizer = described(config), corpus.tokenizer
    assert (manifest.name, manifest.task, manifest.description) == (config.name, config.task, config.description)
    assert (manifest.cell, manifest.layers, manifest.directions) == (small.cell, small.layers, 1 + small.bidirectional)
    assert manifest.pooling == (small.pooling if small.task == "classify" else None)
    assert manifest.labels == (["negative", "positive"] if small.task == "classify" else [])
    assert manifest.sizes.model_dump() == {
        "vocabulary": tokenizer.vocabulary_size,
        "embedding": small.embedding,
        "hidden": small.hidden,
        "parameters": count_parameters(model),
    }
    special = manifest.special_ids
    assert (special.padding, special.unknown, special.end) == (tokenizer.padding_id, tokenizer.unknown_id, tokenizer.end_id)
    assert len(manifest.state) == {"rnn": 1, "gru": 0, "lstm": 2}[small.cell]  # this gru classifies: it keeps none
    assert (manifest.opset, manifest.ir_version) == (artifact.MAX_OPSET, artifact.MAX_IR_VERSION)


def test_a_manifest_says_how_the_model_was_made(tmp_path: Path) -> None:
    config = small_config(Small(seed=7), tmp_path)
    training = described(config).training
    assert (training.preset, training.command, training.seed, training.source) == ("a-preset", "a command", 7, config.source)
    assert training.data_fingerprint == load_corpus(config).splits.fingerprint
    assert (training.epochs, training.seconds) == (2, 12.3)
    assert training.packages == {name: version(name) for name in training.packages}
    assert {"torch", "onnxruntime", "tokenizers", "numpy"} <= set(training.packages)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(training.created)) < timedelta(minutes=5)


def test_a_manifest_s_example_is_what_the_model_answers(tmp_path: Path) -> None:
    config = small_config(Small(), tmp_path)
    corpus = load_corpus(config)
    model = build_model(config, corpus).eval()
    assert isinstance(model, LanguageModel)
    for golden in described(config).golden:
        assert golden.ids == corpus.tokenizer.encode_prompt(golden.text).ids
        with torch.no_grad():
            logits = model(torch.tensor([golden.ids]), torch.tensor([len(golden.ids)]))[0][0, -1].numpy()
        assert np.allclose(logits[golden.outputs], golden.logits, atol=1e-4)
        assert set(golden.outputs) == set(np.argsort(-logits)[:5].tolist())


def test_examples_are_a_few_short_texts(tmp_path: Path) -> None:
    texts = [f"{text} " * 9 if index % 2 else text for index, text in enumerate(sentences(40))]
    rows = [(text.strip(), ("up", "down")[index % 4 // 2]) for index, text in enumerate(texts)]
    golden = described(classify(write_table(tmp_path / "data.csv", rows))).golden
    assert [example.text for example in golden] == [text for text, _ in rows if len(text) <= GOLDEN_CHARACTERS][:GOLDEN_EXAMPLES]


def test_examples_are_long_where_no_text_is_short(tmp_path: Path) -> None:
    rows = [(f"{text} {'더 ' * 40}끝", ("up", "down")[index % 2]) for index, text in enumerate(sentences(20))]
    assert len(described(classify(write_table(tmp_path / "data.csv", rows))).golden) == GOLDEN_EXAMPLES


def test_examples_are_of_the_test_split_where_there_is_one(tmp_path: Path) -> None:
    train, test = sentences(20)[:16], sentences(20)[16:]
    labels = ("up", "down")
    paths = [
        write_table(tmp_path / f"{name}.csv", [(text, labels[index % 2]) for index, text in enumerate(texts)])
        for name, texts in (("train", train), ("test", test))
    ]
    assert [golden.text for golden in described(classify(paths[0], test=str(paths[1]))).golden] == test


def test_there_is_an_example_even_where_the_test_split_is_of_dropped_marks(tmp_path: Path) -> None:
    train = write_table(tmp_path / "train.csv", [("a b", "up"), ("c d", "down"), ("e", "up")])
    test = write_table(tmp_path / "test.csv", [("?!", "up"), ("...", "down")])
    config = classify(train, test=str(test)).model_copy(update={"text": TextConfig(punctuation="drop")})
    assert described(config).golden
