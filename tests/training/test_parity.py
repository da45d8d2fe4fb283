"""training.parity: a graph that is not the model is never published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from service.inference.runtime import Array, Ids, Lengths, Runtime
from service.words import Words
from tests.builders import Small, open_small
from training.errors import PublishError
from training.model import Classifier, LanguageModel
from training.parity import check_parity, golden_examples

NGRAMS = Small("classify", "lstm", bidirectional=True, ngrams=3, pooling="attention", tables="int8")


@pytest.mark.parametrize("small", [Small(), Small("classify", "gru", bidirectional=True), NGRAMS], ids=lambda small: small.name)
def test_a_model_that_differs_from_its_graph_is_refused(small: Small, tmp_path: Path) -> None:
    _, runtime, model = open_small(small, tmp_path)
    check_parity(model, runtime)
    with torch.no_grad():
        next(model.recurrent.parameters())[0] += 0.5
    with pytest.raises(PublishError, match="differ by"):
        check_parity(model, runtime)


def test_a_model_without_numbers_is_refused(tmp_path: Path) -> None:
    _, runtime, model = open_small(Small(), tmp_path)
    with torch.no_grad():
        model.output.bias.fill_(float("nan"))
    with pytest.raises(PublishError):
        check_parity(model, runtime)


def test_a_model_that_reads_unknown_words_differently_is_refused(tmp_path: Path) -> None:
    _, runtime, model = open_small(NGRAMS, tmp_path)
    assert isinstance(model, Classifier)
    assert model.embedding.grams is not None
    with torch.no_grad():
        model.embedding.grams.weight[1:] += 0.5
    with pytest.raises(PublishError, match="differ by"):
        check_parity(model, runtime)


@pytest.mark.parametrize("small", [NGRAMS, replace(NGRAMS, ngrams=0), Small(tables="int8")], ids=lambda small: small.name)
def test_a_model_whose_tables_were_not_rounded_before_is_refused(small: Small, tmp_path: Path) -> None:
    """What was evaluated would not be what is published."""
    _, runtime, model = open_small(small, tmp_path)
    rough = {"embedding.weight", "embedding.words.weight", "embedding.grams.weight"}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in rough:
                weight.add_(torch.rand_like(weight))
    with pytest.raises(PublishError, match="differ by"):
        check_parity(model, runtime)


class Careless(Runtime):
    """The real runtime, but for rows of batches of three, which it answers a little differently."""

    def classify(self, ids: Ids, lengths: Lengths, grams: Ids | None = None) -> Array:
        logits = super().classify(ids, lengths, grams)
        return logits if len(ids) != 3 else np.nextafter(logits, np.float32(np.inf))


def test_a_graph_that_rounds_by_the_number_of_rows_is_refused(tmp_path: Path) -> None:
    artifact, _, model = open_small(NGRAMS, tmp_path)
    with pytest.raises(PublishError, match="row 0 of a batch of 3 is answered differently than alone"):
        check_parity(model, Careless(artifact))


def test_golden_examples_hold_the_highest_logits_of_the_text_alone(tmp_path: Path) -> None:
    _, _, model = open_small(Small(), tmp_path)
    assert isinstance(model, LanguageModel)
    (golden,) = golden_examples(model, [("오늘 날씨가", Words([2, 5, 6]))])
    assert golden.ids == [2, 5, 6]
    assert len(golden.outputs) == len(golden.logits) == 5
    with torch.no_grad():
        logits = model.logits(torch.tensor([[2, 5, 6]]), torch.tensor([3]))[0][0, -1]
    assert set(golden.outputs) == set(logits.topk(5).indices.tolist())


def test_golden_examples_hold_what_a_model_makes_of_unknown_words(tmp_path: Path) -> None:
    artifact, runtime, model = open_small(NGRAMS, tmp_path)
    words = artifact.encode("고래 오늘 whale 고래")
    (golden,) = golden_examples(model, [("고래 오늘 whale 고래", words)])
    assert golden.ids == words.ids
    assert np.allclose(runtime.classify_texts([words])[0], golden.logits, atol=1e-4)
