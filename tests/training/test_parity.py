"""training.parity: a graph that is not the model is never published."""

from pathlib import Path

import pytest
import torch

from tests.builders import Small, open_small
from training.errors import PublishError
from training.parity import check_parity, golden_examples


@pytest.mark.parametrize("small", [Small(), Small("classify", "gru", bidirectional=True)], ids=lambda small: small.name)
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


def test_golden_examples_hold_the_highest_logits_of_the_text_alone(tmp_path: Path) -> None:
    _, _, model = open_small(Small(), tmp_path)
    (golden,) = golden_examples(model, [("오늘 날씨가", [2, 5, 6])])
    assert golden.ids == [2, 5, 6]
    assert len(golden.outputs) == len(golden.logits) == 5
    with torch.no_grad():
        logits = model(torch.tensor([[2, 5, 6]]), torch.tensor([3]))[0][0, -1]
    assert set(golden.outputs) == set(logits.topk(5).indices.tolist())
