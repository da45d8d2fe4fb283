"""Both directions learn to predict words that are words, the classifier keeps what they learnt, and the heads are gone."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.toys import (
    COUNTING,
    FIRST_WORD,
    PADDING,
    SPELLED,
    UNKNOWN,
    VOCABULARY,
    classifier,
    in_batches,
    on_cpu,
    sentence_feed,
    weights,
)
from tests.training.toys import settings as fitting
from training.batches import IGNORED, Batch
from training.config import PretrainConfig
from training.loop import fit
from training.model import Classifier
from training.pretrain import BothDirections
from training.progress import Fitted
from training.samples import Samples

WORDS = 6  # that are predicted, of the 12 there are


def reader(**config: int) -> Classifier:
    return classifier(1, None, bidirectional=True, cell="lstm", **config)


def objective(model: Classifier, words: int = WORDS, dropout: float = 0.0) -> BothDirections:
    torch.manual_seed(3)
    return BothDirections(model, PretrainConfig(epochs=1, words=words, dropout=dropout), FIRST_WORD)


def pretrain(model: Classifier, samples: Samples, words: int = VOCABULARY, **changes: object) -> Fitted:
    config = fitting(**changes)
    return fit(objective(model, words), sentence_feed(samples, None, config.batch_size, generates=False), config, on_cpu())


def batch_of(rows: list[list[int]]) -> Batch:
    return next(iter(in_batches(Samples.of((row, 0) for row in rows), len(rows), generates=False)))


def test_where_the_words_on_either_side_are_certain_nothing_is_left_to_lose() -> None:
    fitted = pretrain(reader(), COUNTING, epochs=40, patience=40, learning_rate=0.05, optimiser="adam")
    assert fitted.history[0].train_loss > 1.5
    assert fitted.best.train_loss < 0.1


def test_a_direction_that_cannot_know_keeps_its_loss() -> None:
    """After a 2 comes one of eight words, each as often; before each of them a 2, for certain."""
    rows = Samples.of(([2, 3 + index % 8], 0) for index in range(64))
    fitted = pretrain(reader(), rows, epochs=40, patience=40, learning_rate=0.05)
    assert abs(fitted.best.train_loss - float(torch.log(torch.tensor(8.0))) / 2) < 0.1


@torch.no_grad()
def test_every_word_but_the_first_is_predicted_from_the_left_and_every_one_but_the_last_from_the_right() -> None:
    assert objective(reader())(batch_of([[3, 4, 5, 6], [7, 2]])).predictions == 2 * (3 + 1)
    assert objective(reader())(batch_of([[3]])).predictions == 0


ids = st.lists(st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=6), min_size=1, max_size=4)


@given(ids)
@settings(deadline=None, max_examples=50)
@torch.no_grad()
def test_padding_and_unknown_and_rare_words_are_never_predicted(rows: list[list[int]]) -> None:
    batch = batch_of(rows)
    loss = objective(reader())(batch)
    predicted = range(FIRST_WORD, FIRST_WORD + WORDS)
    assert UNKNOWN not in predicted
    assert loss.predictions == sum((word in predicted) for row in rows for word in (*row[1:], *row[:-1]))
    padding = torch.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
    disguised = batch._replace(ids=batch.ids.masked_fill(padding, FIRST_WORD))
    other = objective(reader())(disguised)
    assert other.predictions == loss.predictions
    assert torch.allclose(other.total, loss.total, rtol=1e-6)


@torch.no_grad()
def test_words_that_the_vocabulary_lacks_are_read_and_not_predicted() -> None:
    batch = next(iter(in_batches(SPELLED, len(SPELLED), generates=False)))
    assert int(batch.ids.max()) >= VOCABULARY
    rows = [row[:length].tolist() for row, length in zip(batch.ids, batch.lengths, strict=True)]
    known = sum(FIRST_WORD <= word < VOCABULARY for row in rows for word in (*row[1:], *row[:-1]))
    loss = objective(reader(ngrams=3), VOCABULARY)(batch)
    assert loss.predictions == known
    assert batch.grams is not None
    spelled_otherwise = batch._replace(grams=batch.grams.flip(0))
    assert not torch.equal(objective(reader(ngrams=3), VOCABULARY)(spelled_otherwise).total, loss.total)


@torch.no_grad()
def test_a_row_that_only_keeps_a_process_in_step_counts_for_nothing() -> None:
    batch = batch_of([[3, 4, 5]])
    shares = [objective(reader())(batch.share(rank, 3)).predictions for rank in range(3)]
    assert shares == [4, 0, 0]
    assert batch.share(2, 3).targets.tolist() == [IGNORED]


@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_texts_alone() -> None:
    rows = [[3, 4, 5, 6, 7], [7, 2], [5, 1, 4]]
    together, alone = objective(reader())(batch_of(rows)), [objective(reader())(batch_of([row])) for row in rows]
    assert torch.allclose(together.total, sum((loss.total for loss in alone), torch.tensor(0.0)), rtol=1e-5)


def test_the_classifier_keeps_what_was_learnt_about_words_and_nothing_of_the_heads() -> None:
    model = reader(layers=2, ngrams=3)
    before = weights(model)
    pretrain(model, SPELLED, epochs=1)
    after = weights(model)
    assert list(after) == list(before)
    learnt = ("embedding.", "recurrent.layers.0.")
    untrained = ("bias_hh_l0",)
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved == (name.startswith(learnt) and not name.endswith(untrained)), name


def test_padding_stays_zeros_whatever_is_predicted() -> None:
    model = reader(ngrams=3)
    pretrain(model, SPELLED, epochs=1)
    assert torch.all(model.embedding.words.weight[PADDING] == 0)
