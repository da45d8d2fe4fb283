"""A known word's vector is its row of the table, an unknown one's comes of its characters, and rounding once is for good."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.embedding import WordEmbedding, drop_words, new_embedding
from training.tables import round_rows

WORDS, WIDTH, PADDING, UNKNOWN, BUCKETS = 9, 6, 0, 1, 15
KNOWN = np.array([[0, 0, 0], [0, 0, 0], *([1 + word, 1 + (3 * word) % BUCKETS, 0] for word in range(WORDS - 2))], np.int32)
GRAMS = torch.tensor([[4, 9, 11], [2, 0, 0], [7, 8, 0]])  # of three unknown words
IDS = torch.tensor([[2, 5, 9, 5], [11, 3, 0, 0], [8, 10, 9, 1]])  # 9, 10, 11 are those


def embedding(seed: int = 1, word_dropout: float = 0.0) -> WordEmbedding:
    torch.manual_seed(seed)
    return WordEmbedding(WORDS, WIDTH, PADDING, UNKNOWN, BUCKETS, KNOWN, word_dropout)


def plain(word_dropout: float = 0.0) -> WordEmbedding:
    """Without runs of characters."""
    torch.manual_seed(1)
    return WordEmbedding(WORDS, WIDTH, PADDING, UNKNOWN, word_dropout=word_dropout)


def unknown(module: WordEmbedding, grams: Tensor) -> Tensor:
    """grams (U, slots) of words that are not known -> (U, E)"""
    found: Tensor = module(torch.arange(WORDS, WORDS + len(grams))[None], grams)
    return found[0]


def runs_of(module: WordEmbedding) -> Tensor:
    assert module.grams is not None
    return module.grams.weight.detach()


# Words


@torch.no_grad()
def test_a_known_word_s_vector_is_its_row_of_the_table() -> None:
    for module in (embedding(), plain()):
        known = torch.arange(WORDS)[None]
        assert torch.equal(module(known, GRAMS)[0], module.table())


@torch.no_grad()
def test_an_unknown_word_s_vector_is_that_of_its_runs_of_characters() -> None:
    module = embedding()
    found = module(IDS, GRAMS)
    spelt = unknown(module, GRAMS)
    assert torch.equal(found[0, 2], spelt[0])
    assert torch.equal(found[2, 1], spelt[1])
    assert torch.equal(found[1, 0], spelt[2])


@torch.no_grad()
def test_a_word_is_itself_and_the_mean_of_its_runs() -> None:
    module = embedding()
    words, runs = module.words.weight, runs_of(module)
    assert torch.allclose(module.table()[5], words[5] + (runs[KNOWN[5][0]] + runs[KNOWN[5][1]]) / 2, atol=1e-7)
    expected = [runs[[4, 9, 11]].mean(dim=0), runs[2], runs[[7, 8]].mean(dim=0)]
    assert torch.allclose(unknown(module, GRAMS), words[UNKNOWN] + torch.stack(expected), atol=1e-7)


@torch.no_grad()
def test_a_word_without_runs_is_itself_alone() -> None:
    module = embedding()
    assert torch.equal(module.table()[UNKNOWN], module.words.weight[UNKNOWN])
    assert torch.equal(unknown(module, torch.zeros(1, 3, dtype=torch.long))[0], module.words.weight[UNKNOWN])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
@torch.no_grad()
def test_how_a_batch_numbers_its_unknown_words_does_not_matter(order: list[int]) -> None:
    module = embedding()
    renumbered = IDS.clone()
    for place, word in enumerate(order):
        renumbered[WORDS + word == IDS] = WORDS + place
    assert torch.equal(module(renumbered, GRAMS[order]), module(IDS, GRAMS))


@torch.no_grad()
def test_unknown_words_that_only_other_rows_have_do_not_matter() -> None:
    """A process's share of a batch still has the runs of all of it."""
    module = embedding()
    assert torch.equal(module(IDS[1:2], GRAMS), module(IDS, GRAMS)[1:2])


def test_padding_is_zeros_and_stays_so_when_everything_learns() -> None:
    module = embedding()
    optimiser = torch.optim.SGD(module.parameters(), lr=1.0)
    module(IDS, GRAMS).sum().backward()
    optimiser.step()
    assert torch.all(module.words.weight[PADDING] == 0)
    assert torch.all(runs_of(module)[0] == 0)
    assert torch.all(module(IDS, GRAMS)[1, 2:] == 0)


def test_every_run_of_a_word_learns_its_part() -> None:
    module = embedding()
    module(torch.tensor([[WORDS]]), GRAMS).sum().backward()
    assert module.grams is not None
    gradient = module.grams.weight.grad
    assert gradient is not None
    assert gradient.ne(0).any(dim=1).nonzero().flatten().tolist() == [4, 9, 11]
    assert torch.allclose(gradient[[4, 9, 11]], torch.full((3, WIDTH), 1 / 3))


def test_what_can_be_looked_up_from_the_vocabulary_alone_is_not_in_the_state_dict() -> None:
    assert set(embedding().state_dict()) == {"words.weight", "grams.weight"}
    assert set(plain().state_dict()) == {"words.weight"}


# Word dropout


def test_a_word_that_is_dropped_is_dropped_everywhere_in_a_batch() -> None:
    table, ids = new_embedding(200, 4, 0), torch.arange(1, 200).repeat(3).reshape(3, -1)
    with torch.no_grad():
        dropped = drop_words(table, ids, 0.3)
    missing = (dropped == 0).all(dim=-1)
    assert torch.equal(missing, missing[:1].expand_as(missing))
    assert float(missing.float().mean()) == pytest.approx(0.3, abs=0.1)
    assert torch.allclose(dropped[~missing], table.weight[ids][~missing] / 0.7)


def test_another_batch_lacks_other_words() -> None:
    table, ids = new_embedding(200, 4, 0), torch.arange(200)
    with torch.no_grad():
        assert not torch.equal(drop_words(table, ids, 0.3), drop_words(table, ids, 0.3))


def test_word_dropout_leaves_a_word_its_runs_and_a_model_that_is_used_its_words() -> None:
    module = embedding(word_dropout=0.5)
    with torch.no_grad():
        module.words.weight.fill_(1.0)
        runs = embedding()
        runs.words.weight.zero_()
        itself = module(IDS[:1, :2]) - runs(IDS[:1, :2])
        assert torch.equal(module.eval()(IDS, GRAMS), module(IDS, GRAMS))
    assert all(any(torch.allclose(word, torch.full((WIDTH,), size), atol=1e-6) for size in (0.0, 2.0)) for word in itself[0])


# Settled


@torch.no_grad()
def test_a_settled_known_word_is_its_row_of_the_rounded_table_exactly() -> None:
    for module in (embedding(), plain()):
        expected = round_rows(module.table())
        module.eval().settle()
        assert torch.equal(module.table(), expected)
        assert torch.equal(module(torch.arange(WORDS)[None], GRAMS)[0], expected)


@torch.no_grad()
def test_a_settled_unknown_word_is_made_of_rounded_runs() -> None:
    module = embedding()
    word, runs = module.words.weight[UNKNOWN].clone(), round_rows(runs_of(module))
    module.eval().settle()
    assert torch.equal(runs_of(module), runs)
    assert torch.allclose(unknown(module, GRAMS)[1], word + runs[2], atol=1e-7)
    assert torch.equal(module(IDS, GRAMS)[2, 1], unknown(module, GRAMS)[1])


@torch.no_grad()
def test_settling_twice_changes_nothing() -> None:
    for module in (embedding(), plain()):
        module.eval().settle()
        before = module(IDS[:1, :2]), module.table().clone()
        module.settle()
        assert torch.equal(module(IDS[:1, :2]), before[0])
        assert torch.equal(module.table(), before[1])
