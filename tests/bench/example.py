"""PyTorch's word language model example at its defaults, told anew: the loop that ours is measured beside. Knows no clock.

github.com/pytorch/examples, word_language_model, read at 77f55b9: two LSTM layers of 200, dropout 0.2, 20 lanes, windows of 35
words, plain gradient descent from 20 on, clipped at 0.25, and a softmax over the whole vocabulary in 32 bits.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import IGNORED, Batch
from training.samples import Samples

WIDTH, LAYERS, DROPOUT = 200, 2, 0.2
LANES, EVALUATION_LANES, WINDOW = 20, 10, 35
LEARNING_RATE, SLOWER, CLIP = 20.0, 4.0, 0.25
EPOCHS = 40  # what its defaults train for

Hidden = tuple[Tensor, Tensor]  # h and c, (LAYERS, B, WIDTH) each


class ExampleModel(nn.Module):
    """Words to the logarithms of the next word's probabilities; the output layer is not tied to the embedding."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=DROPOUT)
        self.output = nn.Linear(WIDTH, vocabulary)
        nn.init.uniform_(self.words.weight, -0.1, 0.1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)
        nn.init.zeros_(self.output.bias)

    def forward(self, ids: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """ids (T, B) -> (T * B, V), and the state after all T"""
        outputs, after = self.lstm(self.dropout(self.words(ids)), hidden)
        scores = self.output(self.dropout(outputs)).view(-1, self.output.out_features)
        return functional.log_softmax(scores, dim=1), after

    def start(self, rows: int) -> Hidden:
        weight = self.output.weight
        return weight.new_zeros(LAYERS, rows, WIDTH), weight.new_zeros(LAYERS, rows, WIDTH)


class Example:
    """The example's training, a window at a time, so that it can be stopped and looked at anywhere."""

    def __init__(self, vocabulary: int, text: Tensor, seed: int = 1111) -> None:
        """text: the ids of all sentences one after another, each followed by the id that ends it."""
        torch.manual_seed(seed)
        self.model = ExampleModel(vocabulary).train()
        self.rate = LEARNING_RATE
        self.steps = 0
        self._columns = columns(text, LANES)
        self._hidden = self.model.start(LANES)

    @property
    def steps_per_epoch(self) -> int:
        return -(-(len(self._columns) - 1) // WINDOW)

    def step(self) -> tuple[float, int]:
        """Learns from the next window. Returns nats a word, and how many words it had."""
        at = self.steps % self.steps_per_epoch * WINDOW
        if at == 0:
            self._hidden = self.model.start(LANES)
        ids, targets = window(self._columns, at)
        self.model.zero_grad()
        h, c = self._hidden
        found, self._hidden = self.model(ids, (h.detach(), c.detach()))
        loss = functional.nll_loss(found, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        with torch.no_grad():
            for weight in self.model.parameters():
                assert weight.grad is not None
                weight.add_(weight.grad, alpha=-self.rate)
        self.steps += 1
        return loss.item(), len(targets)


def text_of(samples: Samples) -> Tensor:
    """Sentences that end by the same id that each begins with, as one text in which the id stands between them once."""
    starts = np.cumsum(samples.lengths, dtype=np.int64) - samples.lengths
    return torch.from_numpy(np.delete(samples.flat[: int(samples.lengths.sum())], starts).astype(np.int64))


def columns(text: Tensor, lanes: int) -> Tensor:
    """One text (N) as lanes side by side (N // lanes, lanes): words that follow one another stand below one another."""
    steps = len(text) // lanes
    return text[: steps * lanes].view(lanes, steps).t().contiguous()


def window(text: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """Columns (N, B) -> the ids (T, B) of the window that begins at `at`, and the words that follow each, (T * B)."""
    steps = min(WINDOW, len(text) - 1 - at)
    return text[at : at + steps], text[at + 1 : at + 1 + steps].reshape(-1)


@torch.no_grad()
def carried_loss(model: ExampleModel, text: Tensor) -> float:
    """Nats a word of one long text, as the example validates: the state is carried on, and no dropout."""
    model.eval()
    side_by_side = columns(text, EVALUATION_LANES)
    hidden, total, count = model.start(EVALUATION_LANES), 0.0, 0
    for at in range(0, len(side_by_side) - 1, WINDOW):
        ids, targets = window(side_by_side, at)
        found, hidden = model(ids, hidden)
        total, count = total + float(functional.nll_loss(found, targets, reduction="sum")), count + len(targets)
    model.train()
    return total / count if count else math.nan


@torch.no_grad()
def sentence_loss(model: ExampleModel, batches: Iterable[Batch]) -> float:
    """Nats a word where every sentence begins anew: what training.evaluate counts, every word and every sentence's end."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        found, _ = model(batch.ids.t(), model.start(len(batch.ids)))
        targets = batch.targets.t().reshape(-1)
        total += float(functional.nll_loss(found, targets, ignore_index=IGNORED, reduction="sum"))
        count += int((targets != IGNORED).sum())
    model.train()
    return total / count if count else math.nan
