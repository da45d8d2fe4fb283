"""manifest.json says of a model what is true of it, and brings examples by which a reader can tell."""

import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from service import artifact
from service.artifact import Manifest
from tests.builders import Small, export, small_config, small_model
from tests.training.samples import sentences, write_table, write_text
from training.config import Config, TextConfig
from training.corpus import Corpus, load_corpus
from training.manifest import GOLDEN_CHARACTERS, GOLDEN_EXAMPLES, describe
from training.model import LanguageModel, count_parameters
from training.progress import Epoch, Fitted
from training.stages import build_model

HISTORY = [Epoch(1, 2.0, None, 1.0), Epoch(2, 3.0, None, 1.0)]


def corpus_of(config: Config) -> Corpus:
    with tempfile.TemporaryDirectory() as folder:
        return load_corpus(config, Path(folder))


def described(config: Config) -> Manifest:
    """The manifest of an untrained model that had two epochs."""
    corpus = corpus_of(config)
    model = build_model(config, corpus).eval()
    model.settle()
    return describe(config, corpus, model, export(model, corpus), Fitted(HISTORY, HISTORY[0], 12.34), [], "a-preset", "a command")


def classify(train: Path, **data: object) -> Config:
    """A small classifier of a file of one's own, of which nothing is held out unless asked for."""
    config = small_config(Small("classify"), train.parent / "scratch")
    own = config.data.model_copy(update={"train": str(train), **data})
    return config.model_copy(update={"data": own, "fit": config.fit.model_copy(update={"batch_size": 2})})


@pytest.mark.parametrize(
    "small",
    [
        Small(cell="rnn"),
        Small(cell="lstm", layers=2, tables="int8", unit="char"),
        Small("classify", "gru", bidirectional=True, pooling="mean"),
        Small("classify", "gru", bidirectional=True, pooling="attention", ngrams=3),
    ],
    ids=lambda small: small.name,
)
def test_a_manifest_says_what_the_model_is(small: Small, tmp_path: Path) -> None:
    config, corpus, model = small_model(small, tmp_path)
    manifest, tokenizer = described(config), corpus.tokenizer
    assert (manifest.name, manifest.task, manifest.description) == (config.name, config.task, config.description)
    assert (manifest.cell, manifest.layers, manifest.directions) == (small.cell, small.layers, 1 + small.bidirectional)
    assert (manifest.unit, manifest.tables, manifest.ngrams) == (small.unit, small.tables, corpus.ngrams)
    assert (manifest.ngrams is not None) == (small.ngrams > 0)
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
    assert training.data_fingerprint == corpus_of(config).fingerprint
    assert (training.epochs, training.seconds) == (2, 12.3)
    assert training.packages == {name: version(name) for name in training.packages}
    assert {"torch", "onnxruntime", "tokenizers", "numpy"} <= set(training.packages)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(training.created)) < timedelta(minutes=5)


def test_a_manifest_s_example_is_what_the_model_answers(tmp_path: Path) -> None:
    config = small_config(Small(), tmp_path)
    corpus = corpus_of(config)
    model = build_model(config, corpus).eval()
    assert isinstance(model, LanguageModel)
    for golden in described(config).golden:
        assert golden.ids == corpus.tokenizer.encode_prompt(golden.text).ids
        with torch.no_grad():
            logits = model.logits(torch.tensor([golden.ids]), torch.tensor([len(golden.ids)]))[0][0, -1].numpy()
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


def test_half_of_the_examples_have_unknown_words_where_a_model_reads_these(tmp_path: Path) -> None:
    known, unknown = "a b c d", "a whale b"
    train = write_table(tmp_path / "train.csv", [(known, ("up", "down")[index % 2]) for index in range(20)])
    test = write_table(tmp_path / "test.csv", [(f"{known} {'a ' * index}", "up") for index in range(12)] + [(unknown, "up")] * 9)
    plain = classify(train, test=str(test))
    spelling = plain.model_copy(update={"model": plain.model.model_copy(update={"ngrams": 3})})
    assert all("whale" not in golden.text for golden in described(plain).golden)
    examples = described(spelling).golden
    vocabulary = corpus_of(spelling).tokenizer.vocabulary_size
    assert [max(golden.ids) >= vocabulary for golden in examples] == [False] * (GOLDEN_EXAMPLES // 2) + [True] * (
        GOLDEN_EXAMPLES // 2
    )
    assert all(("whale" in golden.text) == (max(golden.ids) >= vocabulary) for golden in examples)


def test_a_manifest_tells_the_rows_of_every_split_and_nobodys_folder(tmp_path: Path) -> None:
    for split, count in (("train", 16), ("valid", 5), ("test", 4)):
        write_table(
            tmp_path / "reviews" / f"{split}.csv", [(text, ("up", "down")[i % 2]) for i, text in enumerate(sentences(count))]
        )
    more = write_text(tmp_path / "unlabelled.txt", sentences(30))
    folder = tmp_path / "reviews"
    config = classify(folder / "train.csv", valid=str(folder / "valid.csv"), test=str(folder / "test.csv"))
    assert described(config).training.data == "reviews: 16 rows to train, 5 to choose on, 4 to test"
    config = config.model_copy(update={"data": config.data.model_copy(update={"unlabelled": str(more)})})
    assert described(config).training.data == "reviews: 16 rows to train, 5 to choose on, 4 to test, 30 without labels"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("somewhere/reviews/train.tsv", "reviews"),
        ("somewhere/sms.tsv", "sms.tsv"),
        ("hub:e9t/nsmc", "hub:e9t/nsmc"),
        ("hub:/somewhere/reviews", "hub:reviews"),
    ],
)
def test_data_is_called_by_its_own_name(place: str, name: str, tmp_path: Path) -> None:
    config, corpus, model = small_model(Small(), tmp_path)
    moved = config.model_copy(update={"data": config.data.model_copy(update={"train": place})})
    fitted = Fitted(HISTORY, HISTORY[0], 1.0)
    manifest = describe(moved, corpus, model, export(model, corpus), fitted, [], "a-preset", "a command")
    assert manifest.training.data == f"{name}: 41 rows to train, 0 to choose on, 0 to test"
