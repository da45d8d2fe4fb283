"""Padding changes nothing, state carried on is as if never split, and a loss is what the field means by it."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from service.artifact import Cell, Pooling
from tests.training import toys
from tests.training.toys import PADDING, VOCABULARY, classifier, in_batches, language_model
from training.batches import IGNORED, Batch
from training.config import FitConfig, ModelConfig
from training.model import ROWS_TOGETHER, Classifier, LanguageModel, count_parameters, real_rows
from training.samples import Samples
from training.tables import round_rows

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
POOLINGS: tuple[Pooling, ...] = ("last", "max", "mean", "attention", "concat")
LENGTHS = torch.tensor([7, 1, 4, 7, 2])
WIDTH = 8  # of a toy's layer

every_cell = pytest.mark.parametrize("cell", CELLS)
every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
one_or_two_layers = pytest.mark.parametrize("layers", [1, 2])
one_or_both_directions = pytest.mark.parametrize("bidirectional", [False, True])


def some_ids(seed: int = 2) -> Tensor:
    """(5, 7) ids, with words where the padding of LENGTHS stands."""
    return torch.randint(1, VOCABULARY, (len(LENGTHS), int(LENGTHS.max())), generator=torch.Generator().manual_seed(seed))


def with_padding(ids: Tensor, value: int) -> Tensor:
    return ids.masked_fill(torch.arange(ids.shape[1]) >= LENGTHS[:, None], value)


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal but for the rounding of sums in another order."""
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


# Padding


@every_cell
@one_or_two_layers
@one_or_both_directions
@every_pooling
@torch.no_grad()
def test_a_text_is_classified_the_same_whatever_stands_in_its_padding(
    cell: Cell, layers: int, bidirectional: bool, pooling: str
) -> None:
    model = classifier(cell=cell, layers=layers, bidirectional=bidirectional, pooling=pooling).eval()
    found = [model.logits(with_padding(some_ids(), value), LENGTHS) for value in (PADDING, 9, 13)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@every_cell
@one_or_two_layers
@one_or_both_directions
@every_pooling
@torch.no_grad()
def test_a_padded_text_is_classified_as_it_is_alone(cell: Cell, layers: int, bidirectional: bool, pooling: str) -> None:
    model = classifier(cell=cell, layers=layers, bidirectional=bidirectional, pooling=pooling).eval()
    ids = with_padding(some_ids(), PADDING)
    together = model.logits(ids, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert close(together[row], model.logits(ids[row : row + 1, :length], LENGTHS[row : row + 1])[0])


texts = st.lists(st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=7), min_size=1, max_size=4)


@given(texts, st.integers(1, 4), st.sampled_from(POOLINGS), st.booleans())
@settings(deadline=None)
@torch.no_grad()
def test_more_columns_of_padding_change_nothing(rows: list[list[int]], more: int, pooling: str, bidirectional: bool) -> None:
    model = classifier(pooling=pooling, bidirectional=bidirectional).eval()
    batch = next(iter(in_batches(Samples.of((row, 0) for row in rows), len(rows), generates=False)))
    wider = functional.pad(batch.ids, (0, more), value=PADDING)
    assert torch.allclose(model.logits(wider, batch.lengths), model.logits(batch.ids, batch.lengths), rtol=0, atol=1e-6)


# Pooling


def pooled(pooling: str, bidirectional: bool = False) -> tuple[Tensor, Tensor, Tensor, Classifier]:
    """What the output layer is given, the steps it was made of, each row's last, and the model."""
    parts = 3 if pooling == "concat" else 1
    model = classifier(pooling=pooling, bidirectional=bidirectional, labels=WIDTH * (1 + bidirectional) * parts).eval()
    with torch.no_grad():
        model.output.weight.copy_(torch.eye(model.output.in_features))
        model.output.bias.zero_()
        ids = some_ids()
        outputs, last, _ = model.recurrent(model.embedding(ids), LENGTHS)
        return model.logits(ids, LENGTHS), outputs, last, model


def own_steps(outputs: Tensor) -> list[Tensor]:
    return [outputs[row, :length] for row, length in enumerate(LENGTHS.tolist())]


@one_or_both_directions
def test_mean_pooling_is_the_mean_of_a_text_s_own_steps(bidirectional: bool) -> None:
    found, outputs, _, _ = pooled("mean", bidirectional)
    assert close(found, torch.stack([steps.mean(dim=0) for steps in own_steps(outputs)]))


@one_or_both_directions
def test_max_pooling_is_the_largest_of_a_text_s_own_steps(bidirectional: bool) -> None:
    found, outputs, _, _ = pooled("max", bidirectional)
    assert torch.equal(found, torch.stack([steps.amax(dim=0) for steps in own_steps(outputs)]))


@one_or_both_directions
def test_last_pooling_is_where_each_direction_ends(bidirectional: bool) -> None:
    found, outputs, last, _ = pooled("last", bidirectional)
    assert torch.equal(found, last)
    assert torch.equal(last[:, :WIDTH], torch.stack([steps[-1, :WIDTH] for steps in own_steps(outputs)]))
    assert torch.equal(last[:, WIDTH:], outputs[:, 0, WIDTH:])


@one_or_both_directions
def test_concat_pooling_is_last_and_max_and_mean(bidirectional: bool) -> None:
    found, *_ = pooled("concat", bidirectional)
    assert torch.equal(found, torch.cat([pooled(part, bidirectional)[0] for part in ("last", "max", "mean")], dim=-1))


@one_or_both_directions
@torch.no_grad()
def test_attention_pooling_is_a_mean_whose_weights_sum_to_one_over_a_text_s_own_steps(bidirectional: bool) -> None:
    found, outputs, _, model = pooled("attention", bidirectional)
    assert model.attention is not None
    for row, steps in enumerate(own_steps(outputs)):
        shares = model.attention(steps).softmax(dim=0)  # (T, 1)
        assert float(shares.sum()) == pytest.approx(1.0)
        assert close(found[row], (shares * steps).sum(dim=0))


# State


@every_cell
@one_or_two_layers
@pytest.mark.parametrize("cut", [1, 3, 6])
@torch.no_grad()
def test_two_halves_with_the_state_carried_are_the_whole(cell: Cell, layers: int, cut: int) -> None:
    model, ids = language_model(cell=cell, layers=layers).eval(), some_ids()
    rows, steps = ids.shape
    whole, end = model.logits(ids, torch.full((rows,), steps))
    first, state = model.logits(ids[:, :cut], torch.full((rows,), cut))
    second, resumed = model.logits(ids[:, cut:], torch.full((rows,), steps - cut), state)
    assert close(torch.cat([first, second], dim=1), whole)
    assert len(resumed) == len(end) == (2 if cell == "lstm" else 1)
    for found, expected in zip(resumed, end, strict=True):
        assert found.shape == (layers, rows, WIDTH)
        assert close(found, expected)


@every_cell
@torch.no_grad()
def test_a_state_that_is_not_carried_is_missed(cell: Cell) -> None:
    model, ids = language_model(cell=cell).eval(), some_ids()
    whole, _ = model.logits(ids, torch.full((5,), 7))
    second, _ = model.logits(ids[:, 3:], torch.full((5,), 4))
    assert not close(second, whole[:, 3:])


@every_cell
@one_or_two_layers
@torch.no_grad()
def test_no_state_is_a_state_of_zeros(cell: Cell, layers: int) -> None:
    model, ids = language_model(cell=cell, layers=layers).eval(), some_ids()
    zeros = [torch.zeros(layers, 5, WIDTH) for _ in range(2 if cell == "lstm" else 1)]
    assert torch.equal(model.logits(ids, LENGTHS)[0], model.logits(ids, LENGTHS, zeros)[0])


@every_cell
@torch.no_grad()
def test_a_language_model_never_looks_ahead(cell: Cell) -> None:
    model, ids = language_model(cell=cell, layers=2).eval(), some_ids()
    changed = ids.clone()
    changed[:, 4:] = 1 + changed[:, 4:] % (VOCABULARY - 1)
    before, after = (model.logits(text, torch.full((5,), 7))[0] for text in (ids, changed))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


@every_cell
@one_or_two_layers
def test_windows_lose_what_one_long_window_does_and_their_state_is_cut_from_the_gradient(cell: Cell, layers: int) -> None:
    model = language_model(cell=cell, layers=layers)
    windows = list(toys.stream_feed(toys.COUNTING, None, 3, 6).train(1, 0))
    width = sum(batch.ids.shape[1] for batch in windows)
    whole = Batch(
        torch.cat([batch.ids for batch in windows], dim=1),
        torch.full((3,), width),
        torch.cat([batch.targets for batch in windows], dim=1),
    )
    state, totals = None, []
    for batch in windows:
        loss = model(batch, state)
        state = loss.state
        assert state is not None
        assert not any(part.requires_grad for part in state)
        totals.append(float(loss.total.detach()))
    with torch.no_grad():
        expected = model(whole)
        without = sum(float(model(batch).total) for batch in windows)
    assert len(windows) > 2
    assert sum(totals) == pytest.approx(float(expected.total), rel=1e-5)
    assert abs(without - sum(totals)) > 1e-3
    assert all(close(found, end) for found, end in zip(state or [], expected.state, strict=True))


# Parameters


@pytest.mark.parametrize(("cell", "biases"), [("rnn", 1), ("lstm", 1), ("gru", 2)])
def test_training_moves_one_bias_a_gate_and_both_of_gru_s(cell: Cell, biases: int) -> None:
    model = language_model(cell=cell).train()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if "bias_" in name}
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    model(lm_batch()[1]).total.backward()
    optimiser.step()
    moved = [name for name, weight in model.named_parameters() if name in before and not torch.equal(weight, before[name])]
    assert len(before) == 2
    assert len(moved) == biases


def test_padding_is_embedded_as_zeros() -> None:
    for table in (language_model().embedding, classifier().embedding.words):
        assert torch.all(table.weight[PADDING] == 0)
        assert torch.any(table.weight[1] != 0)


# Tied output


def test_a_tied_output_is_the_embedding_and_counts_only_its_bias() -> None:
    tied, loose = language_model(tied=True), language_model(tied=False)
    assert tied.output.weight is tied.embedding.weight
    assert loose.output.weight is not loose.embedding.weight
    assert count_parameters(loose) - count_parameters(tied) == VOCABULARY * WIDTH


@pytest.mark.parametrize(
    ("embedding", "tied", "projects"), [(WIDTH, True, False), (6, True, True), (WIDTH, False, False), (6, False, False)]
)
def test_a_projection_stands_only_where_a_tied_output_does_not_fit(embedding: int, tied: bool, projects: bool) -> None:
    model = language_model(embedding=embedding, tied=tied)
    assert (model.projection is not None) == projects
    logits, _ = model.logits(some_ids(), LENGTHS)
    assert logits.shape == (5, 7, VOCABULARY)


# Dropout


@pytest.mark.parametrize("kind", ["dropout", "word_dropout", "weight_dropout"])
def test_every_dropout_is_off_when_a_model_is_used_and_on_when_it_learns(kind: str) -> None:
    batch = Batch(some_ids(), LENGTHS, some_ids(3))
    labelled = batch._replace(targets=torch.tensor([0, 1, 1, 0, 1]))
    pairs: list[tuple[LanguageModel | Classifier, LanguageModel | Classifier, Batch]] = [
        (language_model(1, layers=2, **{kind: 0.5}), language_model(layers=2), batch),
        (classifier(1, None, 2, layers=2, **{kind: 0.5}), classifier(layers=2), labelled),
    ]
    with torch.no_grad():
        for model, plain, asked in pairs:
            first, second, without = (float(some.eval()(asked).total) for some in (model, model, plain))
            assert first == second == without
            model.train()
            assert float(model(asked).total) != float(model(asked).total)


# Losses of a language model


def lm_batch(lengths: tuple[int, ...] = (8, 3, 2, 5)) -> tuple[list[list[int]], Batch]:
    chance = torch.Generator().manual_seed(4)
    rows = [torch.randint(1, VOCABULARY, (length,), generator=chance).tolist() for length in lengths]
    return rows, batch_of(rows)


def batch_of(rows: list[list[int]]) -> Batch:
    return next(iter(in_batches(Samples.of((row, 0) for row in rows), len(rows), generates=True)))


@every_cell
@torch.no_grad()
def test_a_language_model_s_loss_is_the_sum_over_every_text_alone(cell: Cell) -> None:
    model, (rows, batch) = language_model(cell=cell).eval(), lm_batch()
    loss, alone = model(batch), [model(batch_of([row])) for row in rows]
    assert loss.predictions == sum(found.predictions for found in alone) == 7 + 2 + 1 + 4
    assert float(loss.total) == pytest.approx(sum(float(found.total) for found in alone), rel=1e-5)


@torch.no_grad()
def test_a_language_model_s_loss_is_minus_the_log_of_what_it_gave_the_next_words() -> None:
    model, (_, batch) = language_model().eval(), lm_batch()
    chances = model.logits(batch.ids, batch.lengths)[0].log_softmax(dim=-1)
    nats = [
        -float(chances[row, step, target])
        for row, targets in enumerate(batch.targets.tolist())
        for step, target in enumerate(targets)
        if target != IGNORED
    ]
    assert float(model(batch).total) == pytest.approx(sum(nats), rel=1e-5)


@torch.no_grad()
def test_a_loss_does_not_depend_on_what_stands_in_the_padding() -> None:
    model, (_, batch) = language_model().eval(), lm_batch()
    padding = torch.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
    assert torch.equal(model(batch).total, model(batch._replace(ids=batch.ids.masked_fill(padding, 7))).total)


def test_a_batch_that_predicts_nothing_costs_nothing_and_still_has_gradients() -> None:
    """What a process gets that has no row of a batch: it takes part in the step, and moves nothing."""
    for model, targets in ((language_model(), torch.full((5, 7), IGNORED)), (classifier(), torch.full((5,), IGNORED))):
        loss = model(Batch(some_ids(), LENGTHS, targets))
        loss.total.backward()
        assert float(loss.total.detach()) == loss.predictions == 0
        gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
        assert all(gradient is not None and torch.all(gradient == 0) for gradient in gradients)


@given(st.lists(st.sampled_from([IGNORED, 3]), max_size=2 * ROWS_TOGETHER))
@settings(deadline=None)
def test_rows_that_count_are_all_there_once_and_filled_up_with_others_to_a_round_number(targets: list[int]) -> None:
    rows = real_rows(torch.tensor(targets, dtype=torch.long)).tolist()
    counting = [place for place, target in enumerate(targets) if target != IGNORED]
    assert rows[: len(counting)] == counting
    assert len(set(rows)) == len(rows)
    assert len(rows) % ROWS_TOGETHER == 0 or len(rows) == len(targets)


# Losses of a classifier


TARGETS = torch.tensor([0, 2, 1, 1, 0])


@torch.no_grad()
def test_a_classifier_s_loss_is_minus_the_log_of_what_it_gave_the_labels() -> None:
    model, ids = classifier(labels=3).eval(), some_ids()
    loss, chances = model(Batch(ids, LENGTHS, TARGETS)), model.logits(ids, LENGTHS).softmax(dim=-1)
    assert loss.predictions == 5
    nats = -sum(math.log(float(chances[row, target])) for row, target in enumerate(TARGETS))
    assert float(loss.total) == pytest.approx(nats, rel=1e-5)


@torch.no_grad()
def test_one_sigmoid_unit_is_the_softmax_of_zero_and_its_logit() -> None:
    model = classifier(head="sigmoid").eval()
    assert model.output.out_features == 1
    logits = model.logits(some_ids(), LENGTHS)
    assert logits.shape == (5, 2)
    assert torch.all(logits[:, 0] == 0)
    assert close(logits.softmax(dim=-1)[:, 1], torch.sigmoid(logits[:, 1]))


@pytest.mark.parametrize("changes", [{"label_smoothing": 0.2}, {"class_weights": "balanced"}])
@torch.no_grad()
def test_label_smoothing_and_class_weights_change_what_is_learnt_and_never_what_is_judged(changes: dict[str, object]) -> None:
    plain, changed = classifier(), classifier(1, toys.settings(**changes))
    batch = Batch(some_ids(), LENGTHS, TARGETS % 2)
    assert float(changed(batch).total) != pytest.approx(float(plain(batch).total), rel=1e-3)
    assert float(changed.eval()(batch).total) == float(plain.eval()(batch).total)
    assert changed.state_dict().keys() == plain.state_dict().keys()


@torch.no_grad()
def test_a_smoothed_target_is_spread_over_all_labels() -> None:
    model = classifier(1, toys.settings(label_smoothing=0.3), labels=3)
    nats = -model.logits(some_ids(), LENGTHS).log_softmax(dim=-1)  # (5, 3)
    expected = 0.7 * nats[range(5), TARGETS] + 0.3 * nats.mean(dim=-1)
    assert float(model(Batch(some_ids(), LENGTHS, TARGETS)).total) == pytest.approx(float(expected.sum()), rel=1e-5)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5))
@settings(deadline=None, max_examples=30)
def test_balanced_weights_have_the_mean_1_over_the_rows_and_make_every_label_count_as_much(counts: list[int]) -> None:
    fitting = FitConfig(class_weights="balanced")
    sizes = ModelConfig(embedding=2, hidden=2)
    weights = Classifier(sizes, VOCABULARY, PADDING, 1, len(counts), None, fitting, counts).class_weights
    assert weights is not None
    shares = (weights * torch.tensor(counts)).tolist()
    assert sum(shares) / sum(counts) == pytest.approx(1.0, rel=1e-5)
    assert all(one == pytest.approx(other, rel=1e-5) for one, other in pairwise(shares))


@torch.no_grad()
def test_a_weighted_loss_counts_each_row_as_often_as_its_label_weighs() -> None:
    model = classifier(1, toys.settings(class_weights="balanced"))
    nats = -model.logits(some_ids(), LENGTHS).log_softmax(dim=-1)
    targets = TARGETS % 2  # 22 rows of the first label, 11 of the second
    expected = sum(float(nats[row, target]) * (0.75, 1.5)[target] for row, target in enumerate(targets.tolist()))
    assert float(model(Batch(some_ids(), LENGTHS, targets)).total) == pytest.approx(expected, rel=1e-5)


# Settled


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@torch.no_grad()
def test_a_temperature_divides_the_logits_and_leaves_which_is_highest(head: str) -> None:
    model = classifier(head=head, ngrams=3).eval()
    before = model.logits(some_ids(), LENGTHS)
    model.calibrate(2.5)
    assert close(model.logits(some_ids(), LENGTHS), before / 2.5)


def table_of(model: LanguageModel | Classifier) -> Tensor:
    return model.embedding.weight if isinstance(model, LanguageModel) else model.embedding.words.weight


@torch.no_grad()
def test_settling_rounds_tables_only_where_they_are_stored_rounded() -> None:
    for make in (language_model, classifier):
        kept, rounded = make(), make(tables="int8")
        for model in (kept, rounded):
            model.settle()
        found, expected = (table_of(model) for model in (rounded, kept))
        assert not torch.equal(found, expected)
        assert torch.equal(found, round_rows(expected))
        assert toys.same(toys.weights(kept), toys.weights(make()))
    tied = language_model(tables="int8")
    tied.settle()
    assert tied.output.weight is tied.embedding.weight
