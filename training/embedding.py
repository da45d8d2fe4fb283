"""Words as vectors in PyTorch: a table of known words, and one of runs of characters, which unknown words have too."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.tables import round_rows


class WordEmbedding(nn.Module):
    """A known word is its own vector and the mean of its runs of characters'; an unknown one the unknown word's and that mean.

    An id below the number of words is a known word; one above is that number plus a row of the grams that come beside the ids.
    """

    def __init__(
        self,
        words: int,
        width: int,
        padding_id: int,
        unknown_id: int,
        buckets: int = 0,
        known_grams: npt.NDArray[np.int32] | None = None,
        word_dropout: float = 0.0,
    ) -> None:
        """known_grams (words, slots): every known word's rows of the table of runs, 0 in a slot not filled; None: no table."""
        super().__init__()
        self.unknown_id, self.word_dropout = unknown_id, word_dropout
        self.words = new_embedding(words, width, padding_id)
        self.grams: nn.EmbeddingBag | None = None
        self.known: Tensor | None
        self.settled: Tensor | None
        self.register_buffer("known", None, persistent=False)
        self.register_buffer("settled", None, persistent=False)
        if known_grams is not None:
            self.grams = nn.EmbeddingBag(buckets + 1, width, mode="mean", padding_idx=0)
            nn.init.normal_(self.grams.weight, std=0.1)
            with torch.no_grad():
                self.grams.weight[0].zero_()
            self.known = torch.from_numpy(np.asarray(known_grams, np.int64))

    def forward(self, ids: Tensor, grams: Tensor | None = None) -> Tensor:
        """ids (B, T), grams (U, slots) of the unknown words among them -> (B, T, E)"""
        if self.grams is None:
            return drop_words(self.words, ids, self.word_dropout if self.training else 0.0)
        # Every word of the batch once: most stand in it several times, and its runs are twenty.
        distinct, places = torch.unique(ids, return_inverse=True)
        known, unknown = distinct[distinct < len(self.words.weight)], distinct[distinct >= len(self.words.weight)]
        vectors = self._known(known)
        if len(unknown):
            assert grams is not None  # a batch with such ids brings them
            vectors = torch.cat([vectors, self._unknown(grams[unknown - len(self.words.weight)])])
        return functional.embedding(places, vectors)

    def table(self) -> Tensor:
        """(V, E): what every known word's vector comes to."""
        if self.settled is not None:
            return self.settled
        if self.grams is None or self.known is None:
            return self.words.weight
        return self.words.weight + _means(self.grams, self.known)

    @torch.no_grad()
    def settle(self) -> None:
        """Rounds what is looked up to 8 bits with a scale a row, once and for all: what is evaluated is what will be exported."""
        self.settled = round_rows(self.table().detach().clone())
        if self.grams is None:
            self.words.weight.copy_(self.settled)
        else:
            self.grams.weight.copy_(round_rows(self.grams.weight))

    def _known(self, ids: Tensor) -> Tensor:
        if self.settled is not None:
            return self.settled[ids]
        assert self.grams is not None
        assert self.known is not None
        words = drop_words(self.words, ids, self.word_dropout if self.training else 0.0)
        return words + _means(self.grams, self.known[ids])

    def _unknown(self, grams: Tensor) -> Tensor:
        """grams (U, slots) of words that are not known -> (U, E)"""
        assert self.grams is not None
        return self.words.weight[self.unknown_id] + _means(self.grams, grams)


def _means(table: nn.EmbeddingBag, rows: Tensor) -> Tensor:
    """rows (U, slots) -> (U, E): the mean over the slots that are filled, nothing where none is."""
    means: Tensor = table(rows)
    return means


def new_embedding(words: int, width: int, padding_id: int) -> nn.Embedding:
    """A table whose row of padding is zero and stays so."""
    embedding = nn.Embedding(words, width, padding_idx=padding_id)
    with torch.no_grad():
        nn.init.normal_(embedding.weight, std=0.1)
        embedding.weight[padding_id].zero_()
    return embedding


def drop_words(embedding: nn.Embedding, ids: Tensor, share: float) -> Tensor:
    """Vectors (..., E) of ids, of which a share of the vocabulary is nothing wherever it stands (Gal and Ghahramani 2016)."""
    vectors = functional.embedding(ids, embedding.weight, embedding.padding_idx)
    if not share:
        return vectors
    kept = vectors.new_empty(len(embedding.weight), 1).bernoulli_(1 - share).div_(1 - share)
    return vectors * kept[ids]
