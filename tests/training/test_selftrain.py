"""What teachers say of texts without labels, and a student that learns from that as from labels."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from service.artifact import Pooling
from tests.training.toys import classifier
from training.batches import IGNORED, Batch
from training.calibration import FEWEST_ROWS, log_loss, temperature
from training.selftrain import SHARE_UNJUDGED, SHARES, Opinion, Student, agree

LABELS = 3


def opinion(seed: int, targets: Sequence[int] | None = None, sure: float = 2.0, rows: int = 200, labels: int = LABELS) -> Opinion:
    """Somebody's word on rows of valid and 50 unlabelled texts; where targets are given, one who is mostly right on valid."""
    chance = np.random.default_rng(seed)
    valid, unlabelled = (chance.normal(size=(count, labels)).astype(np.float32) for count in (rows, 50))
    if targets is not None:
        valid[np.arange(rows), targets] += sure
    return Opinion(valid, unlabelled)


def targets_of(rows: int = 200, labels: int = LABELS) -> np.ndarray:
    return np.random.default_rng(99).integers(0, labels, rows)


def loss_with(share: float, models: Sequence[Opinion], linear: Opinion, targets: np.ndarray) -> float:
    mixed = (1 - share) * np.mean([model.valid for model in models], axis=0) + share * linear.valid
    return log_loss(mixed / temperature(mixed, targets), targets)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(2, 5), st.sampled_from([0, 30, FEWEST_ROWS, 150]))
def test_what_is_agreed_on_are_shares(seed: int, teachers: int, labels: int, rows: int) -> None:
    targets = targets_of(rows, labels)
    models = [opinion(seed + number, None, rows=rows, labels=labels) for number in range(teachers)]
    agreed = agree(models, opinion(seed + 99, None, rows=rows, labels=labels), targets)
    assert agreed.shares.shape == (50, labels)
    assert agreed.shares.dtype == np.float32
    assert (agreed.shares >= 0).all()
    np.testing.assert_allclose(agreed.shares.sum(axis=1), 1, rtol=1e-5)
    assert agreed.linear_share in SHARES


@pytest.mark.parametrize(("model_sure", "linear_sure"), [(3.0, 0.0), (0.0, 3.0), (2.0, 2.0), (2.0, 1.0)])
def test_the_linear_model_has_the_share_that_loses_least_on_valid(model_sure: float, linear_sure: float) -> None:
    targets = targets_of()
    models = [opinion(seed, targets.tolist(), model_sure) for seed in (1, 2)]
    linear = opinion(3, targets.tolist(), linear_sure)
    losses = {share: loss_with(share, models, linear, targets) for share in SHARES}
    assert agree(models, linear, targets).linear_share == min(SHARES, key=lambda share: losses[share])


def test_one_who_knows_nothing_has_little_say() -> None:
    targets = targets_of()
    knowing, guessing = opinion(1, targets.tolist(), 4.0), opinion(2)
    assert agree([knowing], guessing, targets).linear_share <= 0.3
    assert agree([guessing], knowing, targets).linear_share >= 0.7


def test_two_who_err_on_different_texts_are_better_together() -> None:
    targets = targets_of()
    one, other = opinion(1, targets.tolist()), opinion(2, targets.tolist())
    assert 0 < agree([one], other, targets).linear_share < 1


def test_who_is_too_sure_is_taken_at_less_than_his_word() -> None:
    targets = targets_of()
    honest = opinion(1, targets.tolist())
    boasting = Opinion(honest.valid * 10, honest.unlabelled * 10)
    plain, damped = (agree([one], one, targets).shares for one in (honest, boasting))
    np.testing.assert_allclose(damped, plain, atol=1e-3)


def test_a_constant_more_for_all_labels_of_a_text_changes_nothing() -> None:
    targets = targets_of()
    one, other = opinion(1, targets.tolist()), opinion(2, targets.tolist())
    shifted = Opinion(one.valid + 7, one.unlabelled - 3)
    np.testing.assert_allclose(agree([shifted], other, targets).shares, agree([one], other, targets).shares, atol=1e-3)


@pytest.mark.parametrize("rows", [0, FEWEST_ROWS - 1])
def test_without_enough_to_choose_on_the_two_kinds_have_equal_shares(rows: int) -> None:
    one, other = opinion(1, rows=rows), opinion(2, rows=rows)
    agreed = agree([one], other, targets_of(rows))
    assert agreed.linear_share == SHARE_UNJUDGED
    powers = np.exp(((one.unlabelled + other.unlabelled) / 2).astype(np.float64))
    np.testing.assert_allclose(agreed.shares, powers / powers.sum(axis=1, keepdims=True), rtol=1e-4)


# The student

SHARES_OF_TWO = np.array([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]], np.float32)


def student(pooling: Pooling = "max") -> Student:
    return Student(classifier(pooling=pooling), SHARES_OF_TWO).eval()


def batch_of(targets: list[int]) -> Batch:
    """Texts of two words, each of its own, with these targets."""
    ids = torch.arange(2, 2 + 2 * len(targets)).reshape(-1, 2)
    return Batch(ids, torch.full((len(targets),), 2), torch.tensor(targets))


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_from_labels_alone_it_learns_as_the_classifier_would(pooling: Pooling) -> None:
    learner, batch = student(pooling=pooling), batch_of([0, 1, 1, 0, 1])
    ours, theirs = learner(batch), learner.classifier(batch)
    assert torch.equal(ours.total, theirs.total)
    assert ours.predictions == theirs.predictions == 5


def test_a_target_from_the_number_of_labels_on_is_a_row_of_the_shares() -> None:
    learner, batch = student(), batch_of([0, 2, 3, 4, 1])
    loss = learner(batch)
    logits = learner.classifier.logits(batch.ids, batch.lengths, batch.grams)
    wanted = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    assert loss.total.item() == pytest.approx(-(wanted * functional.log_softmax(logits, -1)).sum().item(), rel=1e-5)
    assert loss.predictions == 5


def test_certain_shares_cost_what_the_label_costs() -> None:
    learner = student()
    labelled, taught = learner(batch_of([1, 1, 1])), learner(batch_of([1, 4, 1]))
    assert taught.total.item() == pytest.approx(labelled.total.item(), rel=1e-5)


def test_what_is_ignored_costs_nothing_among_labels_and_shares() -> None:
    """A row that fills up a process's part of a batch."""
    learner = student()
    whole, without = learner(batch_of([0, 2, IGNORED, 3])), learner(batch_of([0, 2, 3, 3]))
    assert whole.predictions == 3
    assert without.predictions == 4
    alone = [[target if place == at else IGNORED for at in range(4)] for place, target in ((0, 0), (1, 2), (3, 3))]
    parts = [learner(batch_of(targets)) for targets in alone]
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-5)


def test_the_shares_are_no_part_of_what_is_learnt_or_kept() -> None:
    learner = student()
    assert not any("shares" in name for name in learner.state_dict())
    assert {name.removeprefix("classifier.") for name, _ in learner.named_parameters()} == {
        name for name, _ in learner.classifier.named_parameters()
    }


def test_learning_from_shares_brings_the_scores_there() -> None:
    learner, batch = student(), batch_of([2, 3, 4])
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        learner(batch).total.backward()
        optimiser.step()
    scores = learner.classifier.logits(batch.ids, batch.lengths, batch.grams).softmax(-1).detach().numpy()
    np.testing.assert_allclose(scores, SHARES_OF_TWO, atol=0.05)
