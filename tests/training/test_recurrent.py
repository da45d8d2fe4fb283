"""Padding changes nothing, parameters are counted as in the field's textbooks, and dropout drops what it says and no more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from service.artifact import Cell
from training.model import count_parameters
from training.recurrent import LockedDropout, Recurrent, read_both_ways, reverse

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
LENGTHS = torch.tensor([7, 1, 4, 7, 2])

every_cell = pytest.mark.parametrize("cell", CELLS)
one_or_two_layers = pytest.mark.parametrize("layers", [1, 2])
one_or_both_directions = pytest.mark.parametrize("bidirectional", [False, True])


def stack(cell: Cell, layers: int = 1, bidirectional: bool = False, weight_dropout: float = 0.0, seed: int = 3) -> Recurrent:
    torch.manual_seed(seed)
    return Recurrent(cell, 6, 5, layers, bidirectional, weight_dropout=weight_dropout)


def some_inputs(seed: int = 4) -> Tensor:
    """(5, 7, 6), with numbers where the padding of LENGTHS stands."""
    return torch.randn(len(LENGTHS), 7, 6, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal but for the rounding of sums in another order."""
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


# Padding


@every_cell
@one_or_two_layers
def test_the_backward_direction_of_a_padded_row_is_that_of_the_row_alone(cell: Cell, layers: int) -> None:
    module, inputs = stack(cell, layers, bidirectional=True), some_inputs()
    with torch.no_grad():
        outputs, last, _ = module(inputs, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            alone, alone_last, _ = module(inputs[row : row + 1, :length], LENGTHS[row : row + 1])
            assert close(outputs[row, :length], alone[0])
            assert close(last[row], alone_last[0])


@every_cell
@one_or_two_layers
@one_or_both_directions
def test_the_recurrent_stack_is_that_of_torch_over_packed_sequences(cell: Cell, layers: int, bidirectional: bool) -> None:
    module, inputs = stack(cell, layers, bidirectional), some_inputs()
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


@pytest.mark.parametrize("weight_dropout", [0.0, 0.5])
def test_no_gradient_comes_from_padding(weight_dropout: float) -> None:
    module, inputs = stack("lstm", 2, bidirectional=True, weight_dropout=weight_dropout), some_inputs().requires_grad_()
    outputs, last, _ = module(inputs, LENGTHS)
    real = torch.arange(7) < LENGTHS[:, None]
    (outputs[real].sum() + last.sum()).backward()
    assert inputs.grad is not None
    assert torch.all(inputs.grad[~real] == 0)
    assert torch.all(inputs.grad[real] != 0)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 3))
@settings(deadline=None)
def test_reversing_twice_is_no_change_and_padding_stays_where_it_is(lengths: list[int], padding: int) -> None:
    steps = max(lengths) + padding
    rows = torch.arange(len(lengths) * steps).reshape(len(lengths), steps)
    turned = reverse(rows, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert turned[row].tolist() == rows[row, :length].tolist()[::-1] + rows[row, length:].tolist()
    assert torch.equal(reverse(turned, torch.tensor(lengths)), rows)
    deep = rows.unsqueeze(-1).expand(-1, -1, 3)
    assert torch.equal(reverse(deep, torch.tensor(lengths)), turned.unsqueeze(-1).expand(-1, -1, 3))


@every_cell
def test_reading_both_ways_is_what_a_layer_of_two_directions_does(cell: Cell) -> None:
    module, inputs = stack(cell, bidirectional=True), some_inputs()
    directions = module.layers[0]
    assert isinstance(directions, nn.ModuleList)
    with torch.no_grad():
        outputs, _, _ = module(inputs, LENGTHS)
        forward, backward = read_both_ways(directions, inputs, LENGTHS)
    assert torch.equal(torch.cat([forward, reverse(backward, LENGTHS)], dim=-1), outputs)


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


def test_the_untrained_bias_of_rnn_and_lstm_is_zero() -> None:
    for cell in ("rnn", "lstm"):
        weights = Recurrent(cell, 4, 4, layers=2, bidirectional=True).named_parameters()
        assert all(torch.all(weight == 0) for name, weight in weights if "bias_hh" in name)


def test_an_lstm_s_forget_gate_starts_open_and_its_other_gates_do_not() -> None:
    bias = dict(Recurrent("lstm", 4, 5).named_parameters())["layers.0.0.bias_ih_l0"]
    assert torch.all(bias[5:10] == 1)
    assert torch.all(bias[:5].abs() < 0.5)
    assert torch.all(bias[10:].abs() < 0.5)


# Locked dropout


def test_locked_dropout_drops_the_same_numbers_at_every_step_of_a_row_and_others_in_another_row() -> None:
    torch.manual_seed(1)
    dropped = LockedDropout(0.4)(torch.ones(30, 9, 50))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert len({tuple(row) for row in dropped[:, 0].tolist()}) == 30
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.05)


def test_what_locked_dropout_keeps_is_enlarged_so_that_the_mean_stays() -> None:
    torch.manual_seed(1)
    inputs = torch.randn(400, 1, 50)
    dropped = LockedDropout(0.4)(inputs)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], inputs[kept] / 0.6)


def test_locked_dropout_leaves_a_model_that_is_used_alone() -> None:
    inputs = some_inputs()
    assert LockedDropout(0.4).eval()(inputs) is inputs
    assert LockedDropout(0.0)(inputs) is inputs


def test_between_layers_a_row_lacks_the_same_numbers_at_every_step() -> None:
    """A second layer that hands on what it reads would show them; its gradient with respect to the first one's outputs does."""
    module = Recurrent("rnn", 6, 5, layers=2, dropout=0.5)
    outputs: list[Tensor] = []
    module.dropout.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    module(some_inputs(), LENGTHS)
    (between,) = outputs
    assert between.shape == (5, 7, 5)
    missing = between == 0
    assert torch.equal(missing, missing[:, :1].expand_as(missing))
    assert 0 < int(missing[:, 0].sum()) < 25


# Weight dropout


@every_cell
@one_or_two_layers
@one_or_both_directions
def test_weight_dropout_of_nothing_is_the_plain_layer_bit_for_bit(cell: Cell, layers: int, bidirectional: bool) -> None:
    """A share too small to drop any weight, and to enlarge one, takes the way of its own through torch."""
    plain, dropping = stack(cell, layers, bidirectional), stack(cell, layers, bidirectional, weight_dropout=1e-12)
    inputs, found = some_inputs(), []
    for module in (plain, dropping):
        outputs, last, after = module(inputs, LENGTHS)
        (outputs.sum() + last.square().sum()).backward()
        found.append([outputs, last, *after, *(weight.grad for weight in module.parameters() if weight.requires_grad)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@every_cell
def test_a_state_is_taken_up_with_weight_dropout_too(cell: Cell) -> None:
    plain, dropping = stack(cell, 2), stack(cell, 2, weight_dropout=1e-12)
    inputs, whole = some_inputs(), torch.full((5,), 7)
    state = [torch.randn(2, 5, 5) for _ in range(2 if cell == "lstm" else 1)]
    for one, other in zip(plain(inputs, whole, state)[2], dropping(inputs, whole, state)[2], strict=True):
        assert torch.equal(one, other)


@every_cell
def test_weight_dropout_lacks_only_weights_from_state_to_state_and_others_in_every_batch(cell: Cell) -> None:
    """The first step has no state, so nothing is missed there; the second has, and no two batches miss the same."""
    module, inputs = stack(cell, weight_dropout=0.5), some_inputs()
    stored = {name: weight.clone() for name, weight in module.state_dict().items()}
    with torch.no_grad():
        one, other = (module(inputs, LENGTHS)[0] for _ in range(2))
        plain = module.eval()(inputs, LENGTHS)[0]
    assert torch.equal(one[:, 0], plain[:, 0])
    assert torch.equal(other[:, 0], plain[:, 0])
    assert not torch.equal(one[:, 1], plain[:, 1])
    assert not torch.equal(one[:, 1], other[:, 1])
    assert all(torch.equal(weight, stored[name]) for name, weight in module.state_dict().items())


def test_a_weight_that_a_batch_does_without_is_the_same_one_at_every_step_and_gets_no_gradient() -> None:
    module = stack("rnn", weight_dropout=0.5)
    outputs, _, _ = module(some_inputs(), torch.full((5,), 7))
    outputs.sum().backward()
    gradients = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    missing = gradients["layers.0.0.weight_hh_l0"] == 0
    assert 0 < int(missing.sum()) < 25
    assert torch.all(gradients["layers.0.0.weight_ih_l0"] != 0)


@every_cell
def test_a_model_that_is_used_has_all_its_weights(cell: Cell) -> None:
    plain, dropping = stack(cell, 2).eval(), stack(cell, 2, weight_dropout=0.5).eval()
    inputs = some_inputs()
    with torch.no_grad():
        assert torch.equal(plain(inputs, LENGTHS)[0], dropping(inputs, LENGTHS)[0])
