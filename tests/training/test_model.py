"""Padding changes nothing, state carried on is as if never split, and parameters are counted as in the field's textbooks."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from service.artifact import Cell
from training.config import ModelConfig
from training.data import IGNORED, Batch, Sample, batches
from training.model import Classifier, LanguageModel, Recurrent, count_parameters

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
VOCABULARY = 20
LENGTHS = torch.tensor([7, 1, 4, 7, 2])

every_cell = pytest.mark.parametrize("cell", CELLS)
one_or_two_layers = pytest.mark.parametrize("layers", [1, 2])


def language_model(seed: int = 1, **config: object) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig.model_validate({"embedding": 6, "hidden": 5, **config}), VOCABULARY, padding_id=0).eval()


def classifier(seed: int = 1, labels: int = 3, **config: object) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(ModelConfig.model_validate({"embedding": 6, "hidden": 5, **config}), VOCABULARY, 0, labels).eval()


def logits_of(model: LanguageModel | Classifier, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids, LENGTHS)[0] if isinstance(model, LanguageModel) else model(ids, LENGTHS)
    return logits


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
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_text_is_classified_the_same_whatever_stands_in_its_padding(
    cell: Cell, layers: int, bidirectional: bool, pooling: str
) -> None:
    model = classifier(cell=cell, layers=layers, bidirectional=bidirectional, pooling=pooling)
    ids = some_ids()
    with torch.no_grad():
        found = [model(with_padding(ids, value), LENGTHS) for value in (0, 9, 17)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@every_cell
@one_or_two_layers
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_padded_text_is_classified_as_it_is_alone(cell: Cell, layers: int, bidirectional: bool, pooling: str) -> None:
    model = classifier(cell=cell, layers=layers, bidirectional=bidirectional, pooling=pooling)
    ids = with_padding(some_ids(), 0)
    with torch.no_grad():
        together = model(ids, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            assert close(together[row], model(ids[row : row + 1, :length], LENGTHS[row : row + 1])[0])


@every_cell
@one_or_two_layers
def test_the_backward_direction_of_a_padded_row_is_that_of_the_row_alone(cell: Cell, layers: int) -> None:
    torch.manual_seed(3)
    module, inputs = Recurrent(cell, 6, 5, layers, bidirectional=True), torch.randn(len(LENGTHS), 7, 6)
    with torch.no_grad():
        outputs, last, _ = module(inputs, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            alone, alone_last, _ = module(inputs[row : row + 1, :length], LENGTHS[row : row + 1])
            assert close(outputs[row, :length], alone[0])
            assert close(last[row], alone_last[0])


@every_cell
@one_or_two_layers
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_recurrent_stack_is_that_of_torch_over_packed_sequences(cell: Cell, layers: int, bidirectional: bool) -> None:
    torch.manual_seed(3)
    module, inputs = Recurrent(cell, 6, 5, layers, bidirectional), torch.randn(len(LENGTHS), 7, 6)
    kind: type[nn.RNN | nn.GRU | nn.LSTM] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
    reference = kind(6, 5, layers, batch_first=True, bidirectional=bidirectional)
    reference.load_state_dict(
        {
            f"{name.removesuffix('_l0')}_l{layer}{'_reverse' if direction else ''}": weight
            for layer in range(layers)
            for direction in range(2 if bidirectional else 1)
            for name, weight in module.layers[layer].get_submodule(str(direction)).state_dict().items()
        }
    )
    with torch.no_grad():
        outputs, last, _ = module(inputs, LENGTHS)
        packed, _ = reference(pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False))
        expected, _ = pad_packed_sequence(packed, batch_first=True)
    for row, length in enumerate(LENGTHS.tolist()):
        assert close(outputs[row, :length], expected[row, :length])
        backward = expected[row, 0, 5:] if bidirectional else expected[row, 0, :0]
        assert close(last[row], torch.cat([expected[row, length - 1, :5], backward]))


def test_no_gradient_comes_from_padding() -> None:
    torch.manual_seed(3)
    module, inputs = Recurrent("lstm", 6, 5, 2, bidirectional=True), torch.randn(len(LENGTHS), 7, 6, requires_grad=True)
    outputs, last, _ = module(inputs, LENGTHS)
    real = torch.arange(7) < LENGTHS[:, None]
    (outputs[real].sum() + last.sum()).backward()
    assert inputs.grad is not None
    assert torch.all(inputs.grad[~real] == 0)
    assert torch.all(inputs.grad[real] != 0)


# Pooling


def pooled(pooling: str, bidirectional: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """What the output layer is given, the steps it was made of, and each row's last."""
    model = classifier(pooling=pooling, bidirectional=bidirectional, labels=5 * (1 + bidirectional))
    with torch.no_grad():
        model.output.weight.copy_(torch.eye(model.recurrent.width))
        model.output.bias.zero_()
        ids = some_ids()
        outputs, last, _ = model.recurrent(model.embedding(ids), LENGTHS)
        return model(ids, LENGTHS), outputs, last


@pytest.mark.parametrize("bidirectional", [False, True])
def test_mean_pooling_is_the_mean_of_a_text_s_own_steps(bidirectional: bool) -> None:
    found, outputs, _ = pooled("mean", bidirectional)
    assert close(found, torch.stack([outputs[row, :length].mean(dim=0) for row, length in enumerate(LENGTHS.tolist())]))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_max_pooling_is_the_largest_of_a_text_s_own_steps(bidirectional: bool) -> None:
    found, outputs, _ = pooled("max", bidirectional)
    assert torch.equal(found, torch.stack([outputs[row, :length].amax(dim=0) for row, length in enumerate(LENGTHS.tolist())]))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_last_pooling_is_where_each_direction_ends(bidirectional: bool) -> None:
    found, outputs, last = pooled("last", bidirectional)
    assert torch.equal(found, last)
    assert torch.equal(last[:, :5], torch.stack([outputs[row, length - 1, :5] for row, length in enumerate(LENGTHS.tolist())]))
    assert torch.equal(last[:, 5:], outputs[:, 0, 5:])


# State


@every_cell
@one_or_two_layers
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_two_halves_with_the_state_carried_are_the_whole(cell: Cell, layers: int, cut: int) -> None:
    model, ids = language_model(cell=cell, layers=layers), some_ids()
    rows, steps = ids.shape
    with torch.no_grad():
        whole, end = model(ids, torch.full((rows,), steps))
        first, state = model(ids[:, :cut], torch.full((rows,), cut))
        second, resumed = model(ids[:, cut:], torch.full((rows,), steps - cut), state)
    assert close(torch.cat([first, second], dim=1), whole)
    assert len(resumed) == len(end) == (2 if cell == "lstm" else 1)
    for found, expected in zip(resumed, end, strict=True):
        assert found.shape == (layers, rows, 5)
        assert close(found, expected)


@every_cell
def test_a_state_that_is_not_carried_is_missed(cell: Cell) -> None:
    model, ids = language_model(cell=cell), some_ids()
    with torch.no_grad():
        whole, _ = model(ids, torch.full((5,), 7))
        second, _ = model(ids[:, 3:], torch.full((5,), 4))
    assert not close(second, whole[:, 3:])


@every_cell
@one_or_two_layers
def test_no_state_is_a_state_of_zeros(cell: Cell, layers: int) -> None:
    model, ids = language_model(cell=cell, layers=layers), some_ids()
    zeros = [torch.zeros(layers, 5, 5) for _ in range(2 if cell == "lstm" else 1)]
    with torch.no_grad():
        assert torch.equal(model(ids, LENGTHS)[0], model(ids, LENGTHS, zeros)[0])


@every_cell
def test_a_language_model_never_looks_ahead(cell: Cell) -> None:
    model, ids = language_model(cell=cell, layers=2), some_ids()
    changed = ids.clone()
    changed[:, 4:] = 1 + changed[:, 4:] % (VOCABULARY - 1)
    with torch.no_grad():
        before, after = (model(text, torch.full((5,), 7))[0] for text in (ids, changed))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


# Parameters


def test_a_simple_rnn_of_3_units_on_10_features_has_42_parameters() -> None:
    assert count_parameters(Recurrent("rnn", inputs=10, hidden=3)) == 10 * 3 + 3 * 3 + 3 == 42


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("rnn", 7 * 4 + 4 * 4 + 4),
        ("gru", 3 * (7 * 4 + 4 * 4 + 2 * 4)),  # the reset gate stands between its two biases
        ("lstm", 4 * (7 * 4 + 4 * 4 + 4)),
    ],
)
def test_parameters_are_counted_as_in_the_textbook(cell: Cell, expected: int) -> None:
    assert count_parameters(Recurrent(cell, 7, 4)) == expected
    assert count_parameters(Recurrent(cell, 7, 4, bidirectional=True)) == 2 * expected


@every_cell
def test_a_second_layer_reads_both_directions_of_the_first(cell: Cell) -> None:
    one, two = (Recurrent(cell, 7, 4, layers, bidirectional=True) for layers in (1, 2))
    second = Recurrent(cell, 2 * 4, 4, bidirectional=True)
    assert count_parameters(two) == count_parameters(one) + count_parameters(second)


@pytest.mark.parametrize(("cell", "biases"), [("rnn", 1), ("lstm", 1), ("gru", 2)])
def test_training_moves_one_bias_a_gate_and_both_of_gru_s(cell: Cell, biases: int) -> None:
    model = language_model(cell=cell).train()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if "bias_" in name}
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    loss, _ = model.loss(next(batches([Sample([3, 4, 5, 6], 0)] * 4, 4, 0, True)))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    moved = [name for name, weight in model.named_parameters() if name in before and not torch.equal(weight, before[name])]
    assert len(before) == 2
    assert len(moved) == biases


def test_the_untrained_bias_of_rnn_and_lstm_is_zero() -> None:
    for cell in ("rnn", "lstm"):
        weights = Recurrent(cell, 4, 4, layers=2, bidirectional=True).named_parameters()
        assert all(torch.all(weight == 0) for name, weight in weights if "bias_hh" in name)


def test_an_lstm_s_forget_gate_starts_open_and_its_other_gates_do_not() -> None:
    bias = dict(Recurrent("lstm", 4, 5).named_parameters())["layers.0.0.bias_ih_l0"]
    assert torch.all(bias[5:10] == 1)
    assert torch.all(bias[:5].abs() < 0.5)
    assert torch.all(bias[10:].abs() < 0.5)


def test_padding_is_embedded_as_zeros() -> None:
    for model in (language_model(), classifier()):
        assert torch.all(model.embedding.weight[0] == 0)
        assert torch.any(model.embedding.weight[1] != 0)


# Tied output


def test_a_tied_output_is_the_embedding_and_counts_only_its_bias() -> None:
    tied, loose = language_model(embedding=5, tied=True), language_model(embedding=5, tied=False)
    assert tied.output.weight is tied.embedding.weight
    assert loose.output.weight is not loose.embedding.weight
    assert count_parameters(loose) - count_parameters(tied) == VOCABULARY * 5


@pytest.mark.parametrize(
    ("embedding", "tied", "projects"), [(5, True, False), (6, True, True), (5, False, False), (6, False, False)]
)
def test_a_projection_stands_only_where_a_tied_output_does_not_fit(embedding: int, tied: bool, projects: bool) -> None:
    model = language_model(embedding=embedding, tied=tied)
    assert (model.projection is not None) == projects
    logits, _ = model(some_ids(), LENGTHS)
    assert logits.shape == (5, 7, VOCABULARY)


# Dropout


def test_dropout_is_off_when_a_model_is_used_and_on_when_it_learns() -> None:
    ids = some_ids()
    with torch.no_grad():
        for make in (language_model, classifier):
            model, plain = make(dropout=0.5, layers=2), make(dropout=0.0, layers=2)
            first, second, without = (logits_of(some, ids) for some in (model, model, plain))
            assert torch.equal(first, second)
            assert torch.equal(first, without)
            model.train()
            assert not torch.equal(logits_of(model, ids), logits_of(model, ids))


# Losses


def lm_batch(lengths: tuple[int, ...] = (8, 3, 2, 5)) -> tuple[list[Sample], Batch]:
    chance = torch.Generator().manual_seed(4)
    rows = [Sample(torch.randint(1, VOCABULARY, (length,), generator=chance).tolist(), 0) for length in lengths]
    return rows, next(batches(rows, len(rows), 0, generates=True))


@every_cell
def test_a_language_model_s_loss_is_the_sum_over_every_text_alone(cell: Cell) -> None:
    model, (rows, batch) = language_model(cell=cell), lm_batch()
    with torch.no_grad():
        loss, count = model.loss(batch)
        alone = [model.loss(next(batches([row], 1, 0, generates=True))) for row in rows]
    assert count == sum(found for _, found in alone) == 7 + 2 + 1 + 4
    assert float(loss) == pytest.approx(sum(float(found) for found, _ in alone), rel=1e-5)


def test_a_language_model_s_loss_is_minus_the_log_of_what_it_gave_the_next_words() -> None:
    model, (_, batch) = language_model(), lm_batch()
    with torch.no_grad():
        loss, _ = model.loss(batch)
        chances = model(batch.ids, batch.lengths)[0].log_softmax(dim=-1)
    nats = [
        -float(chances[row, step, target])
        for row, targets in enumerate(batch.targets.tolist())
        for step, target in enumerate(targets)
        if target != IGNORED
    ]
    assert float(loss) == pytest.approx(sum(nats), rel=1e-5)


def test_a_loss_does_not_depend_on_what_stands_in_the_padding() -> None:
    model, (_, batch) = language_model(), lm_batch()
    padding = torch.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
    with torch.no_grad():
        assert torch.equal(model.loss(batch)[0], model.loss(batch._replace(ids=batch.ids.masked_fill(padding, 7)))[0])


def test_a_classifier_s_loss_is_minus_the_log_of_what_it_gave_the_labels() -> None:
    model, ids, targets = classifier(), some_ids(), torch.tensor([0, 2, 1, 1, 0])
    with torch.no_grad():
        loss, count = model.loss(Batch(ids, LENGTHS, targets))
        chances = model(ids, LENGTHS).softmax(dim=-1)
    assert count == 5
    assert float(loss) == pytest.approx(-sum(math.log(float(chances[row, target])) for row, target in enumerate(targets)), rel=1e-5)


def test_one_sigmoid_unit_is_the_softmax_of_zero_and_its_logit() -> None:
    model = classifier(head="sigmoid", labels=2)
    assert model.output.out_features == 1
    with torch.no_grad():
        logits = model(some_ids(), LENGTHS)
    assert logits.shape == (5, 2)
    assert torch.all(logits[:, 0] == 0)
    assert close(logits.softmax(dim=-1)[:, 1], torch.sigmoid(logits[:, 1]))
