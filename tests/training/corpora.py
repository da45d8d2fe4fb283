"""Small corpora as training reads them, and models that answer as a test wants, for the tests of what is measured and shown."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from service.artifact import Score
from tests.training.samples import write_table, write_text
from training.calibration import temperature
from training.config import Config
from training.corpus import Corpus, load_corpus
from training.evaluate import Answers, Evaluation
from training.model import Classifier, LanguageModel
from training.rows import Row
from training.stages import build_model

Changes = dict[str, object]


def texts(*sentences: str) -> list[Row]:
    return [Row(sentence, None) for sentence in sentences]


def corpus_of(
    folder: Path, train: Sequence[Row], valid: Sequence[Row] = (), test: Sequence[Row] = (), **sections: Changes
) -> tuple[Config, Corpus]:
    """Rows in files of their own; without sentence ends, and with an RNN of four units, unless sections say otherwise."""
    task = "generate" if train[0].label is None else "classify"
    given = {"train": train, "valid": valid, "test": test}
    files = {split: str(_write(folder / "data" / split, rows, task)) for split, rows in given.items() if rows}
    config = Config.model_validate(
        {
            "name": "a-model",
            "task": task,
            "description": "A model for tests.",
            "source": "made by the tests",
            "data": {"valid_fraction": 0, "test_fraction": 0, **files, **sections.get("data", {})},
            "text": ({} if task == "classify" else {"sentence_end": False}) | sections.get("text", {}),
            "model": {"cell": "rnn", "embedding": 4, "hidden": 4, **sections.get("model", {})},
            "fit": {"batch_size": 2, **sections.get("fit", {})},
        }
    )
    (folder / "encoded").mkdir(parents=True, exist_ok=True)
    return config, load_corpus(config, folder / "encoded")


def indifferent(config: Config, corpus: Corpus) -> LanguageModel:
    """A language model that gives every word the same chance."""
    model = build_model(config, corpus)
    assert isinstance(model, LanguageModel)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    return model


def stubborn(config: Config, corpus: Corpus) -> Classifier:
    """A classifier that gives every text the first label."""
    model = build_model(config, corpus)
    assert isinstance(model, Classifier)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.tensor([1.0] + [0.0] * (len(corpus.labels) - 1)))
    return model


def decided(config: Config, corpus: Corpus, word: str, label: int) -> Classifier:
    """A classifier of two labels and one direction that gives label to texts with the word, and the other one to all others."""
    model = build_model(config, corpus)
    assert isinstance(model, Classifier)
    table = model.embedding.words.weight
    with torch.no_grad():  # one unit's sign tells; the largest over a text is that of any of its words
        table.fill_(-3.0)
        table[corpus.tokenizer.encode(word).ids[0]] = 3.0
        for name, weight in model.recurrent.named_parameters():
            weight.fill_(1.0) if "weight_ih" in name else weight.zero_()
        signs = torch.tensor([-1.0, 1.0] if label else [1.0, -1.0])
        model.output.weight.copy_(signs[:, None].expand(2, model.recurrent.width))
        model.output.bias.zero_()
    return model


def evaluation_of(labels: Sequence[str], rows: int = 500, seed: int = 1, scores: Sequence[Score] = ()) -> Evaluation:
    """Answers that are mostly right, and too sure of it."""
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, len(labels), rows)
    logits = chance.normal(size=(rows, len(labels))) * 2
    logits[np.arange(rows), targets] += 3
    answers = Answers((logits * 2).astype(np.float32), targets)
    return Evaluation(list(scores), "test", list(labels), answers, temperature(answers.logits, targets))


def _write(path: Path, rows: Sequence[Row], task: str) -> Path:
    if task == "generate":
        return write_text(path.with_suffix(".txt"), [row.text for row in rows])
    return write_table(path.with_suffix(".jsonl"), [(row.text, row.label or "") for row in rows])
