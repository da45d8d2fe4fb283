"""Scores mean what their names say, and the baseline beside them is a proper one."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Score
from training.config import ModelConfig, TextConfig
from training.data import Corpus, Sample, Splits
from training.errors import TrainingError
from training.evaluate import BigramModel, evaluate, predict
from training.model import Classifier, LanguageModel
from training.rows import Row
from training.vocabulary import build_vocabulary

VOCABULARY = 9
sample_lists = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=8).map(lambda ids: Sample(ids, 0)), min_size=1, max_size=12
)


def corpus_of(train: list[Row], valid: Sequence[Row] = (), test: Sequence[Row] = ()) -> Corpus:
    """Rows as they are, without sentence ends; labels in the order of the alphabet."""
    labels = sorted({row.label for row in train if row.label is not None})
    tokenizer = build_vocabulary((row.text for row in train), TextConfig(sentence_end=False), with_end=False)

    def encode(rows: Sequence[Row]) -> list[Sample]:
        return [Sample(tokenizer.encode(row.text).ids, labels.index(row.label) if row.label else 0) for row in rows]

    return Corpus(Splits(train, list(valid), list(test)), tokenizer, labels, *(encode(rows) for rows in (train, valid, test)))


def texts(*sentences: str) -> list[Row]:
    return [Row(sentence, None) for sentence in sentences]


def language_model(corpus: Corpus) -> LanguageModel:
    """One that gives every word the same chance."""
    model = LanguageModel(ModelConfig(embedding=4, hidden=4), corpus.tokenizer.vocabulary_size, 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    return model


def classifier(corpus: Corpus) -> Classifier:
    """One that gives every text the first label."""
    model = Classifier(ModelConfig(embedding=4, hidden=4), corpus.tokenizer.vocabulary_size, 0, len(corpus.labels))
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.tensor([1.0] + [0.0] * (len(corpus.labels) - 1)))
    return model


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores}


# Perplexity


def test_the_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary() -> None:
    corpus = corpus_of(texts("a b c d e", "b a", "e e e d"))
    assert by_metric(evaluate(language_model(corpus), corpus, batch=2))["perplexity"].value == 5 + 2


def test_the_perplexity_of_a_model_that_is_always_right_is_1() -> None:
    corpus = corpus_of(texts("a a a a", "a a"))
    model = language_model(corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.encode("a").ids[0]] = 100.0
    assert by_metric(evaluate(model, corpus, batch=1))["perplexity"].value == 1.0


def test_the_perplexity_of_a_model_that_hesitates_between_two_words_is_2() -> None:
    corpus = corpus_of(texts("a b a", "b a b a", "c c"), test=texts("a b a b"))
    model = language_model(corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.encode("a b").ids] = 100.0
    assert by_metric(evaluate(model, corpus, batch=1))["perplexity"].value == 2.0


def test_a_loss_beyond_any_perplexity_is_refused_in_one_line() -> None:
    """exp(loss) is no number: too large a learning rate did that, and no score may say infinity."""
    corpus = corpus_of(texts("a b a", "b a b a"))
    model = language_model(corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.unknown_id] = 1e6
    with pytest.raises(TrainingError) as refusal:
        evaluate(model, corpus, batch=2)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_a_score_does_not_depend_on_how_texts_are_batched(batch: int) -> None:
    corpus = corpus_of(texts("a b c d e", "b a", "e e e d", "c d"))
    torch.manual_seed(3)
    model = LanguageModel(ModelConfig(embedding=4, hidden=4), corpus.tokenizer.vocabulary_size, 0)
    one_by_one = evaluate(model, corpus, batch=1)
    assert [score.value for score in evaluate(model, corpus, batch)] == [pytest.approx(s.value, rel=1e-3) for s in one_by_one]


def test_the_unknown_word_rate_is_the_share_of_words_that_training_lacks() -> None:
    corpus = corpus_of(texts("a b c"), test=texts("a new b", "a b newer newest"))
    score = by_metric(evaluate(language_model(corpus), corpus, batch=2))["unknown word rate"]
    assert score.value == pytest.approx(3 / 7, abs=1e-4)
    assert score.split == "test"


def test_figures_claim_no_more_than_four_digits() -> None:
    corpus = corpus_of(texts("a b c d e f g", "b a g f", "e e e d"))
    for score in evaluate(language_model(corpus), corpus, batch=2):
        for value in (score.value, score.baseline_value or 0.0):
            assert value == float(f"{value:.4g}")


# Which split


@pytest.mark.parametrize(("valid", "test", "expected"), [(True, True, "test"), (True, False, "valid"), (False, False, "train")])
def test_scores_are_those_of_what_was_held_out_and_say_where_nothing_was(valid: bool, test: bool, expected: str) -> None:
    held = texts("a a b")
    corpus = corpus_of(texts("a b c", "c b"), valid=held if valid else [], test=held if test else [])
    assert {score.split for score in evaluate(language_model(corpus), corpus, batch=2)} == {expected}


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_an_evaluated_model_is_left_ready_for_use(task: str) -> None:
    rows = [Row("a b", "up"), Row("b c", "down")]
    corpus = corpus_of(rows)
    model = language_model(corpus) if task == "generate" else classifier(corpus)
    evaluate(model.train(), corpus, batch=2)
    assert not any(module.training for module in model.modules())


# Kneser-Ney


@settings(deadline=None, max_examples=50)
@given(sample_lists, st.floats(0.05, 0.95))
def test_bigram_probabilities_sum_to_1_after_any_word_seen_or_not(samples: list[Sample], discount: float) -> None:
    model = BigramModel(samples, VOCABULARY, discount)
    for first in range(VOCABULARY):
        assert math.fsum(model.probability(first, second) for second in range(VOCABULARY)) == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(sample_lists)
def test_no_word_is_impossible(samples: list[Sample]) -> None:
    model = BigramModel(samples, VOCABULARY)
    assert min(model.probability(first, second) for first in range(VOCABULARY) for second in range(VOCABULARY)) > 0


@settings(deadline=None, max_examples=50)
@given(sample_lists, sample_lists)
def test_bigram_perplexity_is_the_geometric_mean_of_surprise(train: list[Sample], test: list[Sample]) -> None:
    model = BigramModel(train, VOCABULARY)
    pairs = [pair for sample in test for pair in pairwise(sample.ids)]
    mean = math.fsum(-math.log(model.probability(*pair)) for pair in pairs) / len(pairs)
    assert model.perplexity(test) == pytest.approx(math.exp(mean))


def test_a_bigram_s_probability_is_that_of_the_textbook() -> None:
    """Worked by hand: pairs 12 12 13 23 over 5 ids, discount 3/4; the kinds of pair are 12, 13 and 23."""
    model = BigramModel([Sample([1, 2], 0), Sample([1, 2, 3], 0), Sample([1, 3], 0)], vocabulary=5)

    def continuation(kinds: int) -> float:
        return max(kinds - 0.75, 0) / 3 + 0.75 * 2 / 3 / 5

    assert model.probability(1, 2) == pytest.approx((2 - 0.75) / 3 + 0.75 * 2 / 3 * continuation(1))
    assert model.probability(1, 3) == pytest.approx((1 - 0.75) / 3 + 0.75 * 2 / 3 * continuation(2))
    assert model.probability(1, 4) == pytest.approx(0.75 * 2 / 3 * continuation(0))
    assert model.probability(4, 3) == pytest.approx(continuation(2))


def test_a_word_that_follows_many_others_is_a_likelier_surprise_than_one_that_is_merely_frequent() -> None:
    """San Francisco: what only ever follows one word says nothing after another."""
    frequent = [Sample([1, 2], 0)] * 20
    versatile = [Sample([first, 3], 0) for first in (4, 5, 6, 7)]
    model = BigramModel(frequent + versatile, VOCABULARY)
    counts = Counter(second for sample in frequent + versatile for second in sample.ids[1:])
    assert counts[2] > counts[3]
    assert model.probability(8, 3) > model.probability(8, 2)


def test_the_bigram_baseline_is_that_of_the_training_split_on_the_split_that_is_scored() -> None:
    corpus = corpus_of(texts("a b c", "a b d", "c d a b"), test=texts("a b d c"))
    score = by_metric(evaluate(language_model(corpus), corpus, batch=2))["perplexity"]
    expected = BigramModel(corpus.train, corpus.tokenizer.vocabulary_size).perplexity(corpus.test)
    assert score.baseline is not None
    assert "Kneser-Ney" in score.baseline
    assert score.baseline_value == pytest.approx(expected, rel=1e-3)


# Classification


def test_accuracy_and_macro_f1_of_a_model_that_always_says_the_first_label() -> None:
    rows = [Row("a b", "down")] * 3 + [Row("b c", "up")]
    corpus = corpus_of(rows)
    scores = by_metric(evaluate(classifier(corpus), corpus, batch=2))
    assert scores["accuracy"].value == 0.75
    assert scores["macro F1"].value == pytest.approx((2 * 3 / (2 * 3 + 1) + 0) / 2, abs=1e-4)


def test_a_model_that_is_always_right_has_accuracy_and_macro_f1_of_1() -> None:
    corpus = corpus_of([Row("a", "down"), Row("b", "up"), Row("a a", "down"), Row("b b b", "up")])
    model = classifier(corpus)
    with torch.no_grad():  # the sign of one unit tells the words apart; the largest over a text is that of any of them
        model.embedding.weight.zero_()
        up, down = corpus.tokenizer.encode("b a").ids
        model.embedding.weight[up], model.embedding.weight[down] = 3.0, -3.0
        recurrent = model.recurrent.get_submodule("layers.0.0")
        for name, weight in recurrent.named_parameters():
            weight.fill_(1.0) if "weight_ih" in name else weight.zero_()
        model.output.weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        model.output.bias.zero_()
    scores = by_metric(evaluate(model, corpus, batch=3))
    assert (scores["accuracy"].value, scores["macro F1"].value) == (1.0, 1.0)


def test_the_linear_baseline_finds_what_words_alone_tell() -> None:
    rows = [Row(f"{word} so und so {index}", label) for index in range(9) for word, label in (("good", "up"), ("bad", "down"))]
    corpus = corpus_of(rows, test=[Row("so good", "up"), Row("so bad", "down"), Row("bad und so", "down")])
    for score in evaluate(classifier(corpus), corpus, batch=4):
        assert score.baseline_value == 1.0
        assert score.split == "test"


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_every_text_is_predicted_once_beside_its_own_label(batch: int) -> None:
    rows = [Row(" ".join("abcde"[: 1 + index % 5]), ("x", "y", "z")[index % 3]) for index in range(17)]
    corpus = corpus_of(rows)
    torch.manual_seed(2)
    model = Classifier(ModelConfig(embedding=4, hidden=4), corpus.tokenizer.vocabulary_size, 0, 3).eval()
    with torch.no_grad():
        model.embedding.weight *= 30
        model.output.bias.zero_()
    found = Counter(zip(*(part.tolist() for part in predict(model, corpus, corpus.train, batch)), strict=True))
    expected = Counter[tuple[int, int]]()
    with torch.no_grad():
        for sample in corpus.train:
            logits = model(torch.tensor([sample.ids]), torch.tensor([len(sample.ids)]))
            expected[int(logits.argmax()), sample.target] += 1
    assert found == expected
    assert len({predicted for predicted, _ in found}) > 1
