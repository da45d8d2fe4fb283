"""What a classifier learns before it sees a label: to predict the next word in both directions (Howard and Ruder 2018).

Forward and backward directions are language models of their own over the same words; what they learn about words and their order
stays in the classifier, and the heads that predict are thrown away. Knows no files.
"""

from typing import cast

import torch
from torch import Tensor, nn

from training.batches import IGNORED, Batch
from training.config import PretrainConfig
from training.model import Classifier, Loss, real_rows
from training.recurrent import LockedDropout, State, read_both_ways, reverse
from training.softmax_loss import next_word_loss


class BothDirections(nn.Module):
    """The classifier's embedding and first layer with a head a direction, whose output is tied to the table of words."""

    def __init__(self, classifier: Classifier, config: PretrainConfig, first_word: int) -> None:
        """first_word: the lowest id that is a word; the config.words from there on, the most frequent ones, are predicted."""
        super().__init__()
        self.embedding = classifier.embedding
        self.layer = cast(nn.ModuleList, classifier.recurrent.layers[0])
        self.dropout = LockedDropout(config.dropout)
        vocabulary, width = self.embedding.words.weight.shape
        self.first, self.end = first_word, min(first_word + config.words, vocabulary)
        self.projections = nn.ModuleList(nn.Linear(classifier.recurrent.hidden, width) for _ in self.layer)
        self.biases = nn.Parameter(torch.zeros(len(self.layer), self.end - self.first))

    def forward(self, batch: Batch, state: State | None = None) -> Loss:
        """What predicting every word from those before it, and from those after it, costs."""
        vectors = self.dropout(self.embedding(batch.ids, batch.grams))
        readings = read_both_ways(self.layer, vectors, batch.lengths)
        # In the order in which each direction reads; padding is no word that is predicted, and neither are rare words.
        real = torch.arange(batch.ids.shape[1], device=batch.ids.device) < batch.lengths[:, None]
        real &= (batch.targets != IGNORED)[:, None]  # a row that only keeps a process in step with the others
        targets = torch.where(real & (batch.ids >= self.first) & (batch.ids < self.end), batch.ids - self.first, IGNORED)
        ordered = (targets, reverse(targets, batch.lengths))
        parts = [self._loss(place, *pair) for place, pair in enumerate(zip(readings, ordered, strict=True))]
        return Loss(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])

    def _loss(self, direction: int, outputs: Tensor, read: Tensor) -> tuple[Tensor, int]:
        targets = read[:, 1:].flatten()
        rows = real_rows(targets)
        hidden = self.projections[direction](self.dropout(outputs)[:, :-1].flatten(0, 1)[rows])
        words = self.embedding.words.weight[self.first : self.end]
        total = next_word_loss(hidden, words, self.biases[direction], targets[rows], IGNORED)
        return total, int((targets != IGNORED).sum())
