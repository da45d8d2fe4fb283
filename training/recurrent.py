"""Stacked RNN, GRU and LSTM in PyTorch, with the dropouts of recurrent networks. Knows no words and no loss.

RNN and LSTM learn one bias a gate: the second that torch has would only be added to the first, so it stays zero and untrained.
GRU needs both, because its reset gate stands between them.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.artifact import Cell

_CELLS: dict[Cell, type[nn.RNN | nn.GRU | nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

State = list[Tensor]  # (layers, B, H) each: h, and for LSTM c


class LockedDropout(nn.Module):
    """Drops the same numbers at every step of a row (Gal and Ghahramani 2016): what one step lacks, the next does not tell."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)"""
        if not self.training or not self.share:
            return inputs
        kept = inputs.new_empty(inputs.shape[0], 1, inputs.shape[2]).bernoulli_(1 - self.share)
        return inputs * kept.div_(1 - self.share)


class Recurrent(nn.Module):
    """A stack of recurrent layers, of one direction or two.

    The backward direction reads every row reversed within its own length, so right padding changes nothing, and both
    directions run on torch's fast path, which packed sequences leave.
    """

    def __init__(
        self,
        cell: Cell,
        inputs: int,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cell, self.hidden, self.directions = cell, hidden, 2 if bidirectional else 1
        self.dropout, self.weight_dropout = LockedDropout(dropout), weight_dropout
        self.layers = nn.ModuleList()
        for layer in range(layers):
            width = inputs if layer == 0 else hidden * self.directions
            self.layers.append(nn.ModuleList(_one_layer(cell, width, hidden) for _ in range(self.directions)))

    @property
    def width(self) -> int:
        """Numbers a step of output."""
        return self.hidden * self.directions

    def forward(self, inputs: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """inputs (B, T, I) padded on the right to lengths (B); state for one direction only.

        Returns the outputs (B, T, D*H), which mean nothing past a row's length; each row's last ones (B, D*H), for the
        backward direction those at its first word; and the state after all T steps.
        """
        last, after = inputs, []
        for index, directions in enumerate(self.layers):
            before = None if state is None else [part[index : index + 1] for part in state]
            inputs, last, reached = self._layer(
                cast(nn.ModuleList, directions), self.dropout(inputs) if index else inputs, lengths, before
            )
            after.append(reached)
        return inputs, last, [torch.cat(parts) for parts in zip(*after, strict=True)]

    def _layer(
        self, directions: nn.ModuleList, inputs: Tensor, lengths: Tensor, state: State | None
    ) -> tuple[Tensor, Tensor, State]:
        outputs, reached = self._run(directions[0], inputs, state)
        last = _at(outputs, lengths - 1)
        if self.directions == 1:
            return outputs, last, reached
        backward, _ = self._run(directions[1], reverse(inputs, lengths), None)
        last = torch.cat([last, _at(backward, lengths - 1)], dim=-1)
        return torch.cat([outputs, reverse(backward, lengths)], dim=-1), last, reached

    def _run(self, layer: nn.Module, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One direction of one layer; while training without some of its weights from state to state (Merity et al. 2018)."""
        if not (self.training and self.weight_dropout):
            outputs, after = layer(inputs, None if state is None else (tuple(state) if len(state) > 1 else state[0]))
            return outputs, list(after) if isinstance(after, tuple) else [after]
        weights = [cast(Tensor, getattr(layer, f"{name}_l0")) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        weights[1] = functional.dropout(weights[1], self.weight_dropout)
        if state is None:
            state = [inputs.new_zeros(1, len(inputs), self.hidden)] * (2 if self.cell == "lstm" else 1)
        if self.cell == "lstm":
            outputs, *after = torch.lstm(inputs, state, weights, True, 1, 0.0, True, False, True)
        else:
            run = torch.gru if self.cell == "gru" else torch.rnn_tanh
            outputs, *after = run(inputs, state[0], weights, True, 1, 0.0, True, False, True)
        return outputs, list(after)


def read_both_ways(directions: nn.ModuleList, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's forward and backward outputs (B, T, H) over inputs (B, T, I), each in the order in which it reads."""
    forward, backward = directions
    return forward(inputs)[0], backward(reverse(inputs, lengths))[0]


def reverse(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row's real steps (B, T, ...) in reverse, its padding left where it is; its own inverse."""
    steps = torch.arange(inputs.shape[1], device=inputs.device).expand(inputs.shape[:2])
    source = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    if inputs.dim() == 3:
        source = source.unsqueeze(-1).expand_as(inputs)
    return inputs.gather(1, source)


def _one_layer(cell: Cell, inputs: int, hidden: int) -> nn.RNNBase:
    layer = _CELLS[cell](inputs, hidden, batch_first=True)
    input_bias, hidden_bias = cast(nn.Parameter, layer.bias_ih_l0), cast(nn.Parameter, layer.bias_hh_l0)
    if cell != "gru":
        nn.init.zeros_(hidden_bias)
        hidden_bias.requires_grad_(False)
    if cell == "lstm":
        with torch.no_grad():  # gates i, f, g, o: a forget gate that starts open lets the gradient through
            input_bias[hidden : 2 * hidden] = 1.0
    return layer


def _at(outputs: Tensor, steps: Tensor) -> Tensor:
    """(B, T, W) at one step a row -> (B, W)"""
    return outputs[torch.arange(len(outputs), device=outputs.device), steps]
