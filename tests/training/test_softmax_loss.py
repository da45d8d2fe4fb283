"""The loss over a vocabulary, piece by piece, is the one that torch works out at once, and so are its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from training.batches import IGNORED
from training.softmax_loss import ROWS, next_word_loss


def problem(rows: int, words: int = 11, width: int = 5, seed: int = 1, ignored: float = 0.3) -> tuple[Tensor, ...]:
    """hidden (N, H), weight (V, H), bias (V) that learn, and targets (N) of which some count for nothing."""
    torch.manual_seed(seed)
    learnt = [torch.randn(rows, width), torch.randn(words, width), torch.randn(words)]
    targets = torch.randint(words, (rows,))
    targets[torch.rand(rows) < ignored] = IGNORED
    return *(part.requires_grad_() for part in learnt), targets


def at_once(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    logits = functional.linear(hidden, weight, bias)
    return functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")


def slopes(total: Tensor, parts: tuple[Tensor, ...], scale: float = 0.37) -> list[Tensor]:
    return list(torch.autograd.grad(total * scale, parts))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3 * ROWS), st.integers(2, 40), st.integers(0, 99), st.sampled_from([0.0, 0.3, 1.0]))
def test_loss_and_gradients_are_those_of_the_whole_at_once(rows: int, words: int, seed: int, ignored: float) -> None:
    *parts, targets = problem(rows, words, seed=seed, ignored=ignored)
    hidden, weight, bias = parts
    expected = at_once(hidden, weight, bias, targets)
    total = next_word_loss(hidden, weight, bias, targets, IGNORED)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)
    for found, wanted in zip(slopes(total, tuple(parts)), slopes(expected, tuple(parts)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_weight_that_is_tied_gets_the_gradient_of_both_its_uses() -> None:
    *parts, targets = problem(20, words=7, width=7)
    _, weight, bias = parts
    ids = torch.randint(7, (20,))
    found = slopes(next_word_loss(weight[ids], weight, bias, targets, IGNORED), (weight,))
    wanted = slopes(at_once(weight[ids], weight, bias, targets), (weight,))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_and_its_gradients_are_as_wide_as_the_weights() -> None:
    *parts, targets = problem(500, words=50, width=16)
    hidden, weight, bias = parts
    with torch.autocast("cpu", torch.bfloat16):
        total = next_word_loss(hidden, weight, bias, targets, IGNORED)
    expected = at_once(hidden, weight, bias, targets)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, expected, rtol=1e-2, atol=1.0)
    for found, wanted in zip(slopes(total, tuple(parts)), slopes(expected, tuple(parts)), strict=True):
        assert found.dtype == torch.float32
        assert float(functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)) > 0.999


def test_without_a_gradient_none_is_worked_out() -> None:
    hidden, weight, bias, targets = problem(20)
    with torch.no_grad():
        assert not next_word_loss(hidden, weight, bias, targets, IGNORED).requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(value: float) -> None:
    hidden, weight, bias, targets = problem(20, ignored=0.0)
    with torch.no_grad():
        hidden[3, 2] = value
    assert not bool(torch.isfinite(next_word_loss(hidden, weight, bias, targets, IGNORED)))


def test_a_word_of_no_chance_costs_what_its_logit_says() -> None:
    """However far a ruined model is off, its loss says so."""
    weight, bias = torch.eye(3) * 1000.0, torch.zeros(3)
    hidden, targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), torch.tensor([1, 0])
    assert float(next_word_loss(hidden, weight, bias, targets, IGNORED)) == pytest.approx(1000.0)
