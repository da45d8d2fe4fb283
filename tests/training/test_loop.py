"""The loop learns, the same seed gives the same weights, and what is left is the best epoch's, never the last's by habit."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from training.config import FitConfig, ModelConfig
from training.data import Batch, Sample, batches
from training.errors import TrainingError
from training.loop import Epoch, Fitted, Model, fit, mean_loss
from training.model import Classifier, LanguageModel

CPU = torch.device("cpu")
VOCABULARY = 12
Weights = dict[str, Tensor]

# Sentences that count upwards: what follows a word is certain. And texts whose first word decides their label.
COUNTING = [Sample([first + step for step in range(5)], 0) for first in range(1, 8)] * 4
LABELLED = [Sample([1 + index % 2, 3 + index % 7, 4 + index % 5], index % 2) for index in range(32)]
CONTRARY = [Sample(ids, 1 - target) for ids, target in LABELLED]


def language_model(seed: int = 1, dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig(cell="gru", embedding=8, hidden=8, dropout=dropout), VOCABULARY, padding_id=0)


def classifier(seed: int = 1) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(ModelConfig(cell="gru", embedding=8, hidden=8), VOCABULARY, 0, labels=2)


def train(
    model: Model,
    samples: list[Sample],
    valid: list[Sample] | None = None,
    seed: int = 1,
    progress: Callable[[int, float, float], None] = lambda *_: None,
    **config: object,
) -> Fitted:
    """As training.run does it, with settings that suit a toy."""
    generates = isinstance(model, LanguageModel)
    fitting = FitConfig.model_validate({"epochs": 3, "batch_size": 8, "learning_rate": 0.02, **config})

    def epoch(number: int) -> Iterable[Batch]:
        return batches(samples, fitting.batch_size, 0, generates, seed=1000 * seed + number)

    judge = partial(batches, valid, 8, 0, generates) if valid is not None else None
    return fit(model, epoch, judge, -(-len(samples) // fitting.batch_size), fitting, progress)


def weights(model: Model) -> Weights:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def step_lengths(model: Model, samples: list[Sample], **config: object) -> list[float]:
    """How far each update moved the weights, all together."""
    seen = [weights(model)]
    train(model, samples, None, 1, lambda *_: seen.append(weights(model)), **config)
    return [math.sqrt(sum(float((after[n] - before[n]).square().sum()) for n in after)) for before, after in pairwise(seen)]


# Learning


@pytest.mark.parametrize(("optimiser", "rate"), [("adamw", 0.02), ("adam", 0.02), ("sgd", 1.0)])
def test_every_optimiser_learns_what_is_certain(optimiser: str, rate: float) -> None:
    model = language_model()
    fitted = train(model, COUNTING, optimiser=optimiser, learning_rate=rate, epochs=40, patience=40)
    assert fitted.history[0].train_loss > 1.5
    assert fitted.best.train_loss < 0.4


def test_weight_decay_makes_weights_smaller() -> None:
    sizes = []
    for decay in (0.0, 1.0):
        model = language_model()
        train(model, COUNTING, optimiser="sgd", learning_rate=0.1, weight_decay=decay)
        sizes.append(float(model.embedding.weight.detach().norm()))
    assert sizes[1] < 0.5 * sizes[0]


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    runs = []
    for _ in range(2):
        model = language_model(seed=5, dropout=0.3)
        train(model, COUNTING, COUNTING[:5], seed=5)
        runs.append(weights(model))
    assert same(*runs)


def test_another_seed_gives_other_weights() -> None:
    runs = []
    for seed in (5, 6):
        model = language_model(seed=5)  # the same start: the order of the batches alone must tell them apart
        train(model, COUNTING, seed=seed)
        runs.append(weights(model))
    assert not same(*runs)


def test_bfloat16_learns_about_what_float32_does_even_in_one_process() -> None:
    losses = []
    for precision in ("float32", "bfloat16", "float32"):
        losses.append(train(language_model(), COUNTING, precision=precision, epochs=5).best.train_loss)
    assert losses[0] == losses[2]
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_bfloat16_leaves_the_weights_in_float32() -> None:
    model = language_model()
    train(model, COUNTING, precision="bfloat16", epochs=1)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}


# Which epoch is kept


def test_the_best_epoch_s_weights_are_kept_and_not_the_last_s() -> None:
    """Every epoch of learning the one thing makes the model worse at its contrary."""
    model = classifier()
    fitted = train(model, LABELLED, CONTRARY, epochs=6, patience=6)
    found = [epoch.valid_loss for epoch in fitted.history]
    assert fitted.best.number < 6
    assert fitted.best == min(fitted.history, key=lambda epoch: epoch.judged_by)
    assert mean_loss(model, batches(CONTRARY, 8, 0, False), CPU) == pytest.approx(fitted.best.valid_loss)
    assert found[-1] is not None
    assert found[-1] > fitted.best.judged_by + 0.1


def test_the_last_epoch_is_kept_where_it_is_the_best() -> None:
    model = classifier()
    fitted = train(model, LABELLED, LABELLED, epochs=6)
    assert fitted.best == fitted.history[-1]
    assert mean_loss(model, batches(LABELLED, 8, 0, False), CPU) == pytest.approx(fitted.best.valid_loss)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_it_stops_when_patience_epochs_in_a_row_were_no_better(patience: int) -> None:
    fitted = train(classifier(), LABELLED, CONTRARY, epochs=30, patience=patience)
    assert len(fitted.history) == fitted.best.number + patience
    assert [epoch.number for epoch in fitted.history] == list(range(1, len(fitted.history) + 1))


def test_it_never_stops_early_while_it_gets_better() -> None:
    assert len(train(classifier(), LABELLED, LABELLED, epochs=8, patience=1).history) == 8


def test_without_a_valid_split_the_training_loss_judges() -> None:
    fitted = train(classifier(), LABELLED, None, epochs=3)
    assert all(epoch.valid_loss is None and epoch.judged_by == epoch.train_loss for epoch in fitted.history)
    assert fitted.best == min(fitted.history, key=lambda epoch: epoch.train_loss)


def test_an_epoch_is_judged_by_the_valid_loss_even_where_it_is_zero() -> None:
    assert Epoch(1, 2.0, 0.0, 1.0).judged_by == 0.0
    assert Epoch(1, 2.0, None, 1.0).judged_by == 2.0


def test_a_fitted_model_is_on_the_cpu_and_without_dropout() -> None:
    model = language_model(dropout=0.5)
    train(model, COUNTING, epochs=1)
    assert not any(module.training for module in model.modules())
    assert {weight.device for weight in model.parameters()} == {CPU}


# Steps


def test_the_gradient_is_clipped_to_the_norm_that_was_set() -> None:
    """Plain gradient descent at rate 1 moves the weights by just the gradient's norm."""
    for clip in (0.001, 0.01):
        lengths = step_lengths(language_model(), COUNTING, optimiser="sgd", learning_rate=1.0, clip=clip, epochs=1)
        assert lengths == [pytest.approx(clip, rel=1e-2)] * 4


def test_a_gradient_below_the_norm_is_left_as_it_is() -> None:
    free, wide = (
        step_lengths(language_model(), COUNTING, optimiser="sgd", learning_rate=1.0, clip=clip, epochs=1) for clip in (1e3, 1e6)
    )
    assert free == pytest.approx(wide, rel=1e-3)
    assert min(free) > 0.01


def test_every_step_follows_the_gradient_of_its_own_batch_alone() -> None:
    """The loop with everything off is the three lines of the textbook."""
    model, plain = language_model(), language_model()
    train(model, COUNTING, optimiser="sgd", learning_rate=0.5, clip=1e6, epochs=1)
    for batch in batches(COUNTING, 8, 0, True, seed=1001):
        loss, count = plain.loss(batch)
        trained = [weight for weight in plain.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(loss / count, trained)
        with torch.no_grad():
            for weight, gradient in zip(trained, gradients, strict=True):
                weight.sub_(0.5 * gradient)
    moved, expected = weights(model), weights(plain)
    assert all(torch.allclose(moved[name], expected[name], rtol=1e-4, atol=1e-6) for name in expected)


def test_a_constant_schedule_takes_steps_of_one_size() -> None:
    lengths = step_lengths(language_model(), COUNTING, optimiser="sgd", clip=0.01, learning_rate=1.0, epochs=2, patience=2)
    assert lengths == [pytest.approx(0.01, rel=1e-2)] * 8


def test_a_linear_schedule_falls_evenly_to_nothing_over_all_epochs() -> None:
    lengths = step_lengths(
        language_model(), COUNTING, optimiser="sgd", clip=0.01, learning_rate=1.0, schedule="linear", epochs=2, patience=2
    )
    assert lengths == [pytest.approx(0.01 * (8 - done) / 8, rel=1e-2) for done in range(8)]


def test_a_long_linear_schedule_warms_up_first() -> None:
    lengths = step_lengths(
        language_model(),
        COUNTING,
        optimiser="sgd",
        clip=0.01,
        learning_rate=1.0,
        schedule="linear",
        epochs=50,
        patience=50,
    )
    assert len(lengths) == 200
    assert lengths[:4] == [pytest.approx(0.01 * part / 4, rel=3e-2) for part in (1, 2, 3, 4)]
    assert lengths.index(max(lengths)) == 3
    assert lengths[-1] == pytest.approx(0.01 / 200, rel=5e-2)


def test_progress_is_told_after_every_batch() -> None:
    told: list[tuple[int, float]] = []
    train(language_model(), COUNTING, None, 1, lambda number, share, loss: told.append((number, share)), epochs=2)
    assert told == [(number, done / 4) for number in (1, 2) for done in (1, 2, 3, 4)]


def test_an_epoch_s_training_loss_is_the_mean_over_all_its_predictions() -> None:
    """With steps too small to matter, it is the loss of the model itself: a text of many words counts for each of them."""
    rows = [Sample([1, 2], 0)] * 8 + [Sample([3, 4, 5, 6, 7, 8, 9], 0)] * 8
    model = language_model()
    expected = mean_loss(model, batches(rows, 16, 0, True), CPU)
    fitted = train(model, rows, optimiser="sgd", learning_rate=1e-9, epochs=1)
    assert fitted.history[0].train_loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [1, 3, 28])
def test_a_mean_loss_does_not_depend_on_how_texts_are_batched(size: int) -> None:
    rows = [Sample([1 + (step * index) % 11 for step in range(2 + index % 6)], index % 2) for index in range(28)]
    models: list[Model] = [language_model(), classifier()]
    for model in models:
        generates = isinstance(model, LanguageModel)
        one_by_one = mean_loss(model, batches(rows, 1, 0, generates), CPU)
        assert mean_loss(model, batches(rows, size, 0, generates), CPU) == pytest.approx(one_by_one, rel=1e-5)


# Losses that are no numbers


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_weight_that_is_no_number_ends_the_run_with_where_it_happened(value: float) -> None:
    model = language_model()
    with torch.no_grad():
        model.output.bias[3] = value
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at batch 1 of epoch 1"):
        train(model, COUNTING)


@pytest.mark.parametrize("judged", [False, True])
def test_weights_that_the_very_last_step_ruins_are_never_handed_on(judged: bool) -> None:
    """The loss of the one batch is huge but a number, its gradient is not, and no further batch would show the damage."""
    model = classifier()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.weight[:, 0] = torch.tensor([3e38, -3e38])
    rows = [[Sample([1, 2, 3], target)] for target in (0, 1)]
    losses = [mean_loss(model, batches(row, 1, 0, False), CPU) for row in rows]
    assert 1e36 < max(losses) < math.inf
    wrong = rows[losses.index(max(losses))]
    with pytest.raises(TrainingError):
        train(model, wrong, wrong if judged else None, epochs=1)
