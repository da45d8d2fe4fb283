"""The models in PyTorch: stacked RNN, GRU and LSTM, a language model and a classifier over them. Knows no files.

RNN and LSTM learn one bias a gate: the second that torch has would only be added to the first, so it stays zero and untrained.
GRU needs both, because its reset gate stands between them.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.artifact import Cell
from training.config import ModelConfig
from training.data import IGNORED, Batch

_CELLS: dict[Cell, type[nn.RNN | nn.GRU | nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

ROWS_TOGETHER = 256

State = list[Tensor]  # (layers, B, H) each: h, and for LSTM c


class Recurrent(nn.Module):
    """A stack of recurrent layers, of one direction or two.

    The backward direction reads every row reversed within its own length, so right padding changes nothing, and both
    directions run on torch's fast path, which packed sequences leave.
    """

    def __init__(
        self, cell: Cell, inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.cell, self.hidden, self.directions = cell, hidden, 2 if bidirectional else 1
        self.dropout = nn.Dropout(dropout)
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
        outputs, reached = _run(directions[0], inputs, state)
        last = _at(outputs, lengths - 1)
        if self.directions == 1:
            return outputs, last, reached
        backward, _ = _run(directions[1], _reverse(inputs, lengths), None)
        last = torch.cat([last, _at(backward, lengths - 1)], dim=-1)
        return torch.cat([outputs, _reverse(backward, lengths)], dim=-1), last, reached


class LanguageModel(nn.Module):
    """Next-word logits after every word of a text."""

    def __init__(self, config: ModelConfig, vocabulary: int, padding_id: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.embedding, padding_idx=padding_id)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = Recurrent(config.cell, config.embedding, config.hidden, config.layers, dropout=config.dropout)
        projects = config.tied and config.hidden != config.embedding
        self.projection = nn.Linear(config.hidden, config.embedding, bias=False) if projects else None
        self.output = nn.Linear(config.embedding if config.tied else config.hidden, vocabulary)
        if config.tied:
            self.output.weight = self.embedding.weight
        _initialise(self.embedding)

    def forward(self, ids: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """ids (B, T) -> logits (B, T, V) of the next word after each, and the state after all T."""
        outputs, _, after = self.recurrent(self.dropout(self.embedding(ids)), lengths, state)
        return self.decode(outputs), after

    def decode(self, hidden: Tensor) -> Tensor:
        """(..., H) -> logits (..., V)"""
        hidden = self.dropout(hidden)
        return cast(Tensor, self.output(hidden if self.projection is None else self.projection(hidden)))

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """The sum of the cross-entropies of all real targets in nats, and how many they are."""
        outputs, _, _ = self.recurrent(self.dropout(self.embedding(batch.ids)), batch.lengths)
        rows = (batch.targets.flatten() != IGNORED).nonzero().flatten()  # (N): the output layer is most of the work
        # Rounded up with padding: the CPU's matrix library prepares, and keeps, a program for every N that it meets.
        padding = (batch.targets.flatten() == IGNORED).nonzero().flatten()[: -len(rows) % ROWS_TOGETHER]
        chosen = torch.cat([rows, padding])
        logits = self.decode(outputs.flatten(0, 1)[chosen])
        targets = batch.targets.flatten()[chosen]
        return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum"), len(rows)


class Classifier(nn.Module):
    """Logits of a whole text's labels."""

    def __init__(self, config: ModelConfig, vocabulary: int, padding_id: int, labels: int) -> None:
        super().__init__()
        self.pooling, self.head = config.pooling, config.head
        self.embedding = nn.Embedding(vocabulary, config.embedding, padding_idx=padding_id)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = Recurrent(
            config.cell, config.embedding, config.hidden, config.layers, config.bidirectional, config.dropout
        )
        self.output = nn.Linear(self.recurrent.width, 1 if config.head == "sigmoid" else labels)
        _initialise(self.embedding)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, C). One sigmoid unit z is the softmax of two logits 0 and z."""
        outputs, last, _ = self.recurrent(self.dropout(self.embedding(ids)), lengths)
        logits: Tensor = self.output(self.dropout(self._pool(outputs, last, lengths)))
        return torch.cat([torch.zeros_like(logits), logits], dim=-1) if self.head == "sigmoid" else logits

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """The sum of the cross-entropies in nats, and how many they are."""
        logits = self(batch.ids, batch.lengths)
        return functional.cross_entropy(logits.float(), batch.targets, reduction="sum"), len(batch.targets)

    def _pool(self, outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, W) -> (B, W), over real words only."""
        if self.pooling == "last":
            return last
        padding = (torch.arange(outputs.shape[1], device=outputs.device) >= lengths[:, None]).unsqueeze(-1)
        if self.pooling == "max":
            return outputs.masked_fill(padding, float("-inf")).amax(dim=1)
        return outputs.masked_fill(padding, 0.0).sum(dim=1) / lengths[:, None]


def count_parameters(module: nn.Module) -> int:
    """Numbers that training changes; a tied weight counts once, the second bias of RNN and LSTM not at all."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


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


def _run(layer: nn.Module, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
    before = None if state is None else (tuple(state) if len(state) > 1 else state[0])
    outputs, after = layer(inputs, before)
    return outputs, list(after) if isinstance(after, tuple) else [after]


def _at(outputs: Tensor, steps: Tensor) -> Tensor:
    """(B, T, W) at one step a row -> (B, W)"""
    return outputs[torch.arange(len(outputs), device=outputs.device), steps]


def _reverse(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row's real steps in reverse, its padding left where it is; its own inverse."""
    steps = torch.arange(inputs.shape[1], device=inputs.device).expand(inputs.shape[:2])
    source = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return inputs.gather(1, source.unsqueeze(-1).expand_as(inputs))


def _initialise(embedding: nn.Embedding) -> None:
    with torch.no_grad():
        nn.init.normal_(embedding.weight, std=0.1)
        if embedding.padding_idx is not None:
            embedding.weight[embedding.padding_idx].zero_()
