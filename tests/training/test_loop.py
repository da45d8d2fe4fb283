"""The loop learns, the same seed gives the same weights, and what is left is the best epoch's, never the last's by habit."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training import toys
from tests.training.toys import (
    CONTRARY,
    COUNTING,
    CPU,
    LABELLED,
    SPELLED,
    Case,
    Weights,
    classifier,
    in_batches,
    language_model,
    losses,
    on_cpu,
    same,
    train,
    weights,
)
from training.batches import Batch
from training.checkpoint import Checkpoint
from training.errors import TrainingError
from training.loop import Feed, fit, mean_loss
from training.model import Classifier, LanguageModel, Loss
from training.processes import Processes
from training.progress import Epoch, Progress
from training.recurrent import State
from training.samples import Samples

Model = LanguageModel | Classifier


def observed(feed: Feed, seen: list[Weights], model: nn.Module) -> Feed:
    """The same feed, which notes the weights before every batch and after the last one of an epoch."""

    def noting(epoch: int, start: int) -> Iterator[Batch]:
        for batch in feed.train(epoch, start):
            if not seen:
                seen.append(weights(model))
            yield batch
            seen.append(weights(model))

    return replace(feed, train=noting)


def step_lengths(model: Model, samples: Samples, **changes: object) -> list[float]:
    """How far each update moved the weights, all together."""
    fitting, seen = toys.settings(**changes), list[Weights]()
    feed = toys.sentence_feed(samples, None, fitting.batch_size, isinstance(model, LanguageModel))
    fit(model, observed(feed, seen, model), fitting, on_cpu())
    # A tied table has two names.
    moved = [{n: after[n] - before[n] for n, _ in model.named_parameters()} for before, after in pairwise(seen)]
    return [math.sqrt(sum(float(part.square().sum()) for part in parts.values())) for parts in moved]


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
        train(model, COUNTING, COUNTING, seed=5)
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
    assert mean_loss(model, in_batches(CONTRARY, 8, False), CPU) == pytest.approx(fitted.best.valid_loss)
    assert found[-1] is not None
    assert found[-1] > fitted.best.judged_by + 0.1


def test_the_last_epoch_is_kept_where_it_is_the_best() -> None:
    model = classifier()
    fitted = train(model, LABELLED, LABELLED, epochs=6)
    assert fitted.best == fitted.history[-1]
    assert mean_loss(model, in_batches(LABELLED, 8, False), CPU) == pytest.approx(fitted.best.valid_loss)


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
    for batch in in_batches(COUNTING, 8, True, seed=1001):
        loss = plain(batch)
        trained = [weight for weight in plain.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(loss.total / loss.predictions, trained)
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


def test_a_long_cosine_schedule_warms_up_and_falls_as_half_a_wave() -> None:
    lengths = step_lengths(
        language_model(), COUNTING, optimiser="sgd", clip=0.01, learning_rate=1.0, schedule="cosine", epochs=50, patience=50
    )
    assert lengths[:4] == [pytest.approx(0.01 * part / 4, rel=3e-2) for part in (1, 2, 3, 4)]
    for done in (4, 50, 100, 150, 190):
        assert lengths[done] == pytest.approx(0.01 * (1 + math.cos(math.pi * done / 200)) / 2, rel=3e-2)
    assert lengths[-1] < 0.01 / 1000


def test_no_schedule_is_longer_than_the_epochs_that_are_trained() -> None:
    """An early stop leaves it unfinished; it is not stretched or shortened for that."""
    fitted = train(classifier(), LABELLED, CONTRARY, epochs=30, patience=1, schedule="linear")
    assert len(fitted.history) < 30


# What is told


def test_progress_is_told_at_the_end_of_every_epoch_before_the_epoch_itself() -> None:
    told: list[Progress | Epoch] = []
    fitted = train(language_model(), COUNTING, COUNTING, 1, told.append, epochs=2)
    assert [epoch for epoch in told if isinstance(epoch, Epoch)] == fitted.history
    for number in (1, 2):
        place = told.index(fitted.history[number - 1])
        before = told[place - 1]
        assert isinstance(before, Progress)
        assert (before.epoch, before.share) == (number, 1.0)
        assert before.loss == pytest.approx(fitted.history[number - 1].train_loss)
        assert before.words_per_s > 0


def test_an_epoch_s_training_loss_is_the_mean_over_all_its_predictions() -> None:
    """With steps too small to matter, it is the loss of the model itself: a text of many words counts for each of them."""
    rows = Samples.of([([2, 3], 0)] * 8 + [([3, 4, 5, 6, 7, 8, 9], 0)] * 8)
    model = language_model()
    expected = mean_loss(model, in_batches(rows, 16, True), CPU)
    fitted = train(model, rows, optimiser="sgd", learning_rate=1e-9, epochs=1)
    assert fitted.history[0].train_loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [1, 3, 28])
def test_a_mean_loss_does_not_depend_on_how_texts_are_batched(size: int) -> None:
    rows = Samples.of([([1 + (step * index) % 11 for step in range(2 + index % 6)], index % 2) for index in range(28)])
    for model in (language_model(), classifier()):
        generates = isinstance(model, LanguageModel)
        one_by_one = mean_loss(model, in_batches(rows, 1, generates), CPU)
        assert mean_loss(model, in_batches(rows, size, generates), CPU) == pytest.approx(one_by_one, rel=1e-5)


# State that is carried


class Watched(nn.Module):
    """A language model that notes which states it was given and gave."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model
        self.given: list[State | None] = []
        self.gave: list[State] = []

    def forward(self, batch: Batch, state: State | None = None) -> Loss:
        loss: Loss = self.model(batch, state)
        assert loss.state is not None
        self.given.append(state)
        self.gave.append(loss.state)
        return loss


def watch(feed: Feed, epochs: int) -> Watched:
    model = Watched(language_model(cell="lstm"))
    fit(model, feed, toys.settings(epochs=epochs), on_cpu())
    return model


def test_a_window_begins_with_the_state_in_which_the_one_before_ended_cut_from_its_gradient() -> None:
    watched = watch(toys.stream_feed(COUNTING, None, 3, 6), epochs=2)
    windows = len(watched.given) // 2
    assert windows > 3
    for place, (given, before) in enumerate(zip(watched.given[1:], watched.gave, strict=False), start=1):
        if place == windows:
            continue
        assert given is not None
        assert all(one is other for one, other in zip(given, before, strict=True))
        assert not any(part.requires_grad for part in given)


def test_every_epoch_and_every_validation_begins_without_a_state() -> None:
    feed = toys.stream_feed(COUNTING, COUNTING, 3, 6)
    assert feed.valid is not None
    watched = watch(feed, epochs=2)
    trained, judged = feed.batches_per_epoch, len(list(feed.valid()))
    begins = [0, trained, trained + judged, 2 * trained + judged]
    assert [place for place, given in enumerate(watched.given) if given is None] == begins


def test_sentences_begin_without_a_state_each() -> None:
    assert watch(toys.sentence_feed(COUNTING, COUNTING, 8, generates=True), epochs=1).given == [None] * 8


def test_a_stream_is_judged_with_the_state_carried_too() -> None:
    case = toys.stream_case(epochs=1)
    assert case.feed.valid is not None
    fitted = case.fit()
    assert mean_loss(case.model, case.feed.valid(), CPU, carries_state=True) == pytest.approx(fitted.best.judged_by, rel=1e-6)
    assert abs(mean_loss(case.model, case.feed.valid(), CPU) - fitted.best.judged_by) > 1e-4


# Averaged weights


def test_averaged_weights_are_judged_and_kept_and_the_others_learn_on() -> None:
    plain, averaged, seen = language_model(), language_model(), list[Weights]()
    fitting = toys.settings(epochs=1, average=0.5)
    feed = toys.sentence_feed(COUNTING, COUNTING, 8, generates=True)
    fit(plain, observed(feed, seen, plain), toys.settings(epochs=1), on_cpu())
    fitted = fit(averaged, feed, fitting, on_cpu())
    expected = seen[1]  # the start says nothing about what was learnt; the first steps count as much as the later ones
    for done, after in enumerate(seen[2:], start=1):
        kept = min(0.5, (1 + done) / (10 + done))
        expected = {name: kept * expected[name] + (1 - kept) * after[name] for name in after}
    found = weights(averaged)
    assert all(torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-7) for name in expected)
    assert not same(found, weights(plain))
    assert mean_loss(averaged, in_batches(COUNTING, 8, True), CPU) == pytest.approx(fitted.best.judged_by, rel=1e-6)


def test_averaging_does_not_change_what_is_learnt_meanwhile() -> None:
    plain, averaged = (train(language_model(dropout=0.3), COUNTING, average=share) for share in (0.0, 0.9))
    assert losses(plain) == losses(averaged)


# Precision


def test_auto_is_bfloat16_where_the_processor_has_it_and_float32_elsewhere() -> None:
    found, expected = language_model(), language_model()
    train(found, COUNTING, precision="auto")
    train(expected, COUNTING, precision="bfloat16" if Processes(toys.on_cpu()).have_bfloat16 else "float32")
    assert same(weights(found), weights(expected))


@pytest.mark.parametrize("case", [toys.stream_case, toys.ngrams_case, toys.pretrain_case])
def test_bfloat16_runs_with_every_dropout_and_a_state(case: Callable[..., Case]) -> None:
    half, whole = (case(precision=precision).fit().best.train_loss for precision in ("bfloat16", "float32"))
    assert half == pytest.approx(whole, rel=0.1)


# Losses that are no numbers


def poisoned(feed: Feed, epoch: int, batch: int, model: nn.Module) -> Feed:
    """The same feed, in which a weight becomes no number before one batch."""

    def spoiling(number: int, start: int) -> Iterator[Batch]:
        for place, found in enumerate(feed.train(number, start), start=start + 1):
            if (number, place) == (epoch, batch):
                with torch.no_grad():
                    next(iter(model.parameters()))[5] = math.nan
            yield found

    return replace(feed, train=spoiling)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_weight_that_is_no_number_ends_the_run_with_where_it_happened(value: float) -> None:
    model = language_model()
    with torch.no_grad():
        model.output.bias[3] = value
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at batch 1 of epoch 1"):
        train(model, COUNTING)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_loss_that_is_no_number_ends_the_run_with_the_best_epoch_so_far(tmp_path: Path, average: float) -> None:
    model, reference = language_model(), language_model()
    feed = toys.sentence_feed(COUNTING, COUNTING, 8, generates=True)
    fitting = toys.settings(epochs=5, average=average)
    kept = Checkpoint(tmp_path / "fit.checkpoint", "run", 60, lambda _: None)
    fitted = fit(model, poisoned(feed, 3, 2, model), fitting, on_cpu(), checkpoint=kept)
    assert fitted.fault == "the loss is nan at batch 2 of epoch 3; the best epoch before it, 2, is kept"
    assert fitted.best == fitted.history[-1]
    fit(reference, feed, toys.settings(epochs=2, average=average), on_cpu())
    assert same(weights(model), weights(reference))
    again = language_model()
    assert fit(again, feed, fitting, on_cpu(), checkpoint=kept).fault == fitted.fault
    assert same(weights(again), weights(model))


@pytest.mark.parametrize("judged", [False, True])
def test_weights_that_the_very_last_step_ruins_are_never_handed_on(judged: bool) -> None:
    """The loss of the one batch is huge but a number, its gradient is not, and no further batch would show the damage."""
    model = classifier()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.weight[:, 0] = torch.tensor([3e38, -3e38])
    rows = [Samples.of([([2, 3, 4], target)]) for target in (0, 1)]
    found = [mean_loss(model, in_batches(row, 1, False), CPU) for row in rows]
    assert 1e36 < max(found) < math.inf
    wrong = rows[found.index(max(found))]
    with pytest.raises(TrainingError, match="at the end of epoch 1"):
        train(model, wrong, wrong if judged else None, epochs=1)


@pytest.mark.parametrize("judged", [False, True])
def test_an_epoch_whose_last_step_ruins_the_weights_costs_that_epoch_and_none_before(judged: bool) -> None:
    model, reference, valid = language_model(), language_model(), (COUNTING if judged else None)
    feed = toys.sentence_feed(COUNTING, valid, 8, generates=True)

    def ruined(epoch: int, start: int) -> Iterator[Batch]:
        yield from feed.train(epoch, start)
        if epoch == 3:
            with torch.no_grad():
                model.output.bias[3] = math.nan

    fitted = fit(model, replace(feed, train=ruined), toys.settings(epochs=3), on_cpu())
    assert fitted.fault is not None
    assert fitted.fault.endswith("at the end of epoch 3; the best epoch before it, 2, is kept")
    assert [epoch.number for epoch in fitted.history] == [1, 2]
    train(reference, COUNTING, valid, epochs=2)
    assert same(weights(model), weights(reference))


FEW = Samples.of([([3], 0)] * 4)


@pytest.mark.parametrize("feed", [toys.stream_feed(FEW, None, 8, 6), toys.sentence_feed(Samples.of([]), None, 8, generates=True)])
def test_data_with_nothing_to_predict_is_refused_in_one_line(feed: Feed) -> None:
    with pytest.raises(TrainingError, match="nothing to predict") as error:
        fit(language_model(), feed, toys.settings(), on_cpu())
    assert len(str(error.value).splitlines()) == 1


def test_validation_with_nothing_to_predict_is_as_none() -> None:
    feed = toys.stream_feed(COUNTING, Samples.of([([3], 0)]), 3, 6)
    fitted = fit(language_model(), feed, toys.settings(), on_cpu())
    assert all(epoch.valid_loss is None and epoch.judged_by == epoch.train_loss for epoch in fitted.history)


# A second stage


def test_a_fit_after_another_in_one_process_is_as_one_alone() -> None:
    """Pre-training and fitting share what accelerate keeps for the whole process."""
    alone, second = language_model(), language_model()
    train(alone, COUNTING)
    toys.pretrain_case().fit()
    train(second, COUNTING)
    assert same(weights(alone), weights(second))


def test_a_classifier_learns_from_words_that_its_vocabulary_lacks() -> None:
    case = toys.ngrams_case(dropout=0.0, epochs=20, patience=20, label_smoothing=0.0)
    assert case.fit().best.judged_by < 0.2
    assert max(int(batch.ids.max()) for batch in in_batches(SPELLED, 8, False)) >= toys.VOCABULARY
