"""What our loop is measured beside: that it is the example, and that its perplexity is counted as ours is."""

import math
from pathlib import Path

import pytest
import torch

from tests.bench.example import Example, ExampleModel, carried_loss, columns, sentence_loss, text_of, window
from tests.bench.race import race
from tests.bench.text import SENTENCES, VOCABULARY, write_sentences
from training.batches import Batch, batches
from training.config import FitConfig
from training.corpus import Corpus, load_corpus
from training.loop import mean_loss
from training.model import LanguageModel
from training.preset import load_config
from training.samples import Samples

END = 2
SENTENCES_OF_IDS = Samples.of([([END, 5, 6, END], 0), ([END, 7, END], 0), ([END, 3, 4, 3, END], 0)])


def read(samples: Samples, vocabulary: int = 8) -> list[Batch]:
    return list(batches(samples, 2, padding_id=0, vocabulary=vocabulary, generates=True))


def small_corpus(folder: Path) -> Corpus:
    for split in ("train", "valid", "test"):
        lines = "".join(f"{a} {b} {a}\n" for a in "가나다라마" for b in "바사아자차카") * 10
        (folder / f"{split}.txt").write_text(lines, encoding="utf-8")
    config = load_config("korean-next-word", data=str(folder))
    return load_corpus(config.model_copy(update={"fit": FitConfig(batch_size=8)}), folder)


def test_sentences_become_one_text_in_which_each_ends_once() -> None:
    assert text_of(SENTENCES_OF_IDS).tolist() == [5, 6, END, 7, END, 3, 4, 3, END]


def test_lanes_stand_side_by_side_and_targets_are_the_words_below() -> None:
    lanes = columns(torch.arange(11), 2)
    assert lanes.t().tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    ids, targets = window(lanes, 1)
    assert ids.tolist() == [[1, 6], [2, 7], [3, 8]]
    assert targets.view(3, 2).tolist() == [[2, 7], [3, 8], [4, 9]]


def test_a_model_that_knows_nothing_costs_the_logarithm_of_its_words_either_way() -> None:
    model = ExampleModel(8)
    with torch.no_grad():
        model.output.weight.zero_()
    assert carried_loss(model, torch.randint(0, 8, (400,))) == pytest.approx(math.log(8))
    assert sentence_loss(model, read(SENTENCES_OF_IDS)) == pytest.approx(math.log(8))


def test_sentences_are_counted_as_ours_are() -> None:
    """The same biases and no weights give both models the same probabilities, whatever they read."""
    theirs, ours = ExampleModel(8), LanguageModel(load_config("starter-next-word").model, 8, 0)
    with torch.no_grad():
        for output in (theirs.output, ours.output):
            output.weight.zero_()
            output.bias.copy_(torch.linspace(-2, 2, 8))
    expected = mean_loss(ours, read(SENTENCES_OF_IDS), torch.device("cpu"))
    assert sentence_loss(theirs, read(SENTENCES_OF_IDS)) == pytest.approx(expected)


def test_the_example_learns_and_begins_every_epoch_with_an_empty_state() -> None:
    example = Example(8, torch.tensor([3, 4, 5, 6, END] * 400))
    losses = [example.step()[0] for _ in range(example.steps_per_epoch * 8)]
    assert example.steps_per_epoch == 3
    assert losses[-1] < losses[0] / 2


def test_a_race_keeps_the_best_weights_and_tells_both_ways_of_counting(tmp_path: Path) -> None:
    finish = race(small_corpus(tmp_path), 1.0, lambda check: None)
    assert finish.best.valid_perplexity == min(check.valid_perplexity for check in finish.checks)
    assert finish.checks[-1].epochs <= 40
    assert 1 < finish.by_sentence < 100
    assert 1 < finish.carried_on < 100


def test_a_race_goes_on_where_the_loss_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.example.LEARNING_RATE", 1e30)
    finish = race(small_corpus(tmp_path), 0.3, lambda check: None)
    assert finish.best.valid_perplexity == math.inf


def test_the_text_that_is_made_has_all_its_words_in_train(tmp_path: Path) -> None:
    write_sentences(tmp_path)
    lines = (tmp_path / "train.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == SENTENCES["train"] + 1
    assert len({word for line in lines for word in line.split()}) == VOCABULARY
