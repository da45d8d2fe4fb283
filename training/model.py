"""The models in PyTorch: a language model and a classifier over recurrent layers, and what they lose on a batch. Knows no files."""

from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import IGNORED, Batch
from training.config import FitConfig, ModelConfig
from training.embedding import WordEmbedding, drop_words, new_embedding
from training.recurrent import LockedDropout, Recurrent, State
from training.softmax_loss import next_word_loss
from training.tables import round_rows

ROWS_TOGETHER = 256


class Loss(NamedTuple):
    """What a batch costs: the sum of its cross-entropies in nats, how many they are, and the state that it ends in."""

    total: Tensor
    predictions: int
    state: State | None = None


class LanguageModel(nn.Module):
    """Next-word logits after every word of a text."""

    def __init__(self, config: ModelConfig, vocabulary: int, padding_id: int) -> None:
        super().__init__()
        self.tables, self.word_dropout = config.tables, config.word_dropout
        self.embedding = new_embedding(vocabulary, config.embedding, padding_id)
        self.dropout = LockedDropout(config.dropout)
        self.recurrent = Recurrent(
            *(config.cell, config.embedding, config.hidden, config.layers),
            dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )
        projects = config.tied and config.hidden != config.embedding
        self.projection = nn.Linear(config.hidden, config.embedding, bias=False) if projects else None
        self.output = nn.Linear(config.embedding if config.tied else config.hidden, vocabulary)
        if config.tied:
            self.output.weight = self.embedding.weight

    def forward(self, batch: Batch, state: State | None = None) -> Loss:
        """What predicting every next word costs. The state that it ends in is cut from the gradient."""
        outputs, after = self._outputs(batch.ids, batch.lengths, state)
        hidden, targets = outputs.flatten(0, 1), batch.targets.flatten()
        predictions = int((targets != IGNORED).sum())
        if predictions < len(targets):  # the output layer is most of the work: padding does not pass it
            rows = real_rows(targets)
            hidden, targets = hidden[rows], targets[rows]
        total = next_word_loss(self._narrow(hidden), self.output.weight, self.output.bias, targets, IGNORED)
        return Loss(total, predictions, [part.detach() for part in after])

    def logits(self, ids: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """ids (B, T) -> logits (B, T, V) of the next word after each, and the state after all T."""
        outputs, after = self._outputs(ids, lengths, state)
        return cast(Tensor, self.output(self._narrow(outputs))), after

    def settle(self) -> None:
        """After training: rounds the table of words as it will be stored."""
        if self.tables == "int8":
            with torch.no_grad():
                self.embedding.weight.copy_(round_rows(self.embedding.weight))

    def _outputs(self, ids: Tensor, lengths: Tensor, state: State | None) -> tuple[Tensor, State]:
        words = drop_words(self.embedding, ids, self.word_dropout if self.training else 0.0)
        outputs, _, after = self.recurrent(self.dropout(words), lengths, state)
        return self.dropout(outputs), after

    def _narrow(self, hidden: Tensor) -> Tensor:
        """(..., H) as wide as the output layer reads it."""
        return hidden if self.projection is None else cast(Tensor, self.projection(hidden))


class Classifier(nn.Module):
    """Logits of a whole text's labels."""

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: int,
        padding_id: int,
        unknown_id: int,
        labels: int,
        known_grams: npt.NDArray[np.int32] | None = None,
        fit: FitConfig | None = None,
        label_counts: list[int] | None = None,
    ) -> None:
        """known_grams (V, slots): the runs of characters of every known word. fit and label_counts change only the loss."""
        super().__init__()
        self.tables: Literal["float32", "int8"] = config.tables
        self.pooling, self.head = config.pooling, config.head
        self.embedding = WordEmbedding(
            vocabulary, config.embedding, padding_id, unknown_id, config.buckets, known_grams, config.word_dropout
        )
        self.dropout = LockedDropout(config.dropout)
        self.recurrent = Recurrent(
            config.cell,
            config.embedding,
            config.hidden,
            config.layers,
            config.bidirectional,
            config.dropout,
            config.weight_dropout,
        )
        width = self.recurrent.width * (3 if config.pooling == "concat" else 1)
        self.attention = nn.Linear(width, 1) if config.pooling == "attention" else None
        self.output_dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, 1 if config.head == "sigmoid" else labels)
        self.smoothing = 0.0 if fit is None else fit.label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", _class_weights(fit, label_counts), persistent=False)

    def forward(self, batch: Batch, state: State | None = None) -> Loss:
        """What the batch costs; smoothed and weighted only while training, so that validation losses compare.

        Texts are read from their beginning: a state means nothing here.
        """
        logits = self.logits(batch.ids, batch.lengths, batch.grams).float()
        smoothing, weights = (self.smoothing, self.class_weights) if self.training else (0.0, None)
        total = functional.cross_entropy(
            logits, batch.targets, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )
        return Loss(total, int((batch.targets != IGNORED).sum()))

    def logits(self, ids: Tensor, lengths: Tensor, grams: Tensor | None = None) -> Tensor:
        """ids (B, T), grams (U, slots) of their unknown words -> logits (B, C). One sigmoid unit z is the softmax of 0 and z."""
        outputs, last, _ = self.recurrent(self.dropout(self.embedding(ids, grams)), lengths)
        logits: Tensor = self.output(self.output_dropout(self._pool(outputs, last, lengths)))
        return torch.cat([torch.zeros_like(logits), logits], dim=-1) if self.head == "sigmoid" else logits

    def settle(self) -> None:
        """After training: rounds the tables of words as they will be stored."""
        if self.tables == "int8":
            self.embedding.settle()

    def set_dropout(self, share: float) -> None:
        """Another stage of training may need more or less of it."""
        self.dropout.share = self.recurrent.dropout.share = self.output_dropout.p = share

    def calibrate(self, temperature: float) -> None:
        """Divides all logits by temperature from now on: scores are as sure as they are right, and no answer changes."""
        with torch.no_grad():
            self.output.weight.div_(temperature)
            self.output.bias.div_(temperature)

    def _pool(self, outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, W) -> (B, W), or (B, 3*W) for concat, over real words only."""
        if self.pooling == "last":
            return last
        padding = (torch.arange(outputs.shape[1], device=outputs.device) >= lengths[:, None]).unsqueeze(-1)  # (B, T, 1)
        if self.attention is not None:
            weights = self.attention(outputs).float().masked_fill(padding, float("-inf")).softmax(dim=1)
            pooled: Tensor = (weights * outputs.masked_fill(padding, 0.0)).sum(dim=1)
            return pooled
        if self.pooling == "max":
            return _largest(outputs, padding)
        if self.pooling == "mean":
            return _mean(outputs, padding, lengths)
        return torch.cat([last, _largest(outputs, padding), _mean(outputs, padding, lengths)], dim=-1)


Model = LanguageModel | Classifier


def count_parameters(module: nn.Module) -> int:
    """Numbers that training changes; a tied weight counts once, the second bias of RNN and LSTM not at all."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def real_rows(targets: Tensor) -> Tensor:
    """Places of the targets (N) that count.

    Rounded up with some that do not: the CPU's matrix library prepares, and keeps, a program for every number that it meets.
    """
    rows = (targets != IGNORED).nonzero().flatten()
    padding = (targets == IGNORED).nonzero().flatten()[: -len(rows) % ROWS_TOGETHER]
    return torch.cat([rows, padding])


def _largest(outputs: Tensor, padding: Tensor) -> Tensor:
    return outputs.masked_fill(padding, float("-inf")).amax(dim=1)


def _mean(outputs: Tensor, padding: Tensor, lengths: Tensor) -> Tensor:
    return outputs.masked_fill(padding, 0.0).sum(dim=1) / lengths[:, None]


def _class_weights(fit: FitConfig | None, counts: list[int] | None) -> Tensor | None:
    """balanced: every label as if there were as many of each; the mean over all rows is 1."""
    if fit is None or fit.class_weights == "none" or counts is None:
        return None
    return torch.tensor([sum(counts) / len(counts) / count for count in counts], dtype=torch.float32)
