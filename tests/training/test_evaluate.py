"""Scores mean what their names say, and stand beside proper baselines on exactly the same predictions."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from service.artifact import Score
from tests.training.corpora import corpus_of, decided, indifferent, stubborn, texts
from training.baselines import linear_baselines
from training.calibration import FEWEST_ROWS, expected_calibration_error, log_loss
from training.config import Config
from training.errors import DataError, TrainingError
from training.evaluate import Answers, answer, evaluate
from training.model import Classifier
from training.ngrams import KneserNey
from training.rows import Row
from training.samples import Samples
from training.stages import build_model


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores}


def in_batches_of(config: Config, size: int) -> Config:
    return config.model_copy(update={"fit": config.fit.model_copy(update={"batch_size": size})})


def reviews(count: int, seed: int = 5) -> list[Row]:
    """Texts of 1 to 7 words, of which good or bad is usually what the label says."""
    chance, rows = np.random.default_rng(seed), []
    for index in range(count):
        label = index % 2
        says = label if chance.random() < 0.9 else 1 - label
        words = [f"w{word}" for word in chance.integers(0, 30, chance.integers(0, 7))]
        rows.append(Row(" ".join([*words, ("bad", "good")[says]]), ("down", "up")[label]))
    return rows


# Perplexity


def test_the_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c d e", "b a", "e e e d"))
    assert by_metric(evaluate(indifferent(config, corpus), corpus, config).scores)["perplexity"].value == 5 + 2


def test_the_perplexity_of_a_model_that_is_always_right_is_1(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a a a a", "a a"))
    model = indifferent(config, corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.encode("a").ids[0]] = 100.0
    assert by_metric(evaluate(model, corpus, config).scores)["perplexity"].value == 1.0


def test_the_perplexity_of_a_model_that_hesitates_between_two_words_is_2(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b a", "b a b a", "c c"), test=texts("a b a b"))
    model = indifferent(config, corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.encode("a b").ids] = 100.0
    assert by_metric(evaluate(model, corpus, config).scores)["perplexity"].value == 2.0


@pytest.mark.parametrize("size", [1e6, float("nan")])
def test_a_loss_beyond_any_perplexity_is_refused_in_one_line(size: float, tmp_path: Path) -> None:
    """exp(loss) is no number: too large a learning rate did that, and no score may say infinity."""
    config, corpus = corpus_of(tmp_path, texts("a b a", "b a b a"))
    model = indifferent(config, corpus)
    with torch.no_grad():
        model.output.bias[corpus.tokenizer.unknown_id] = size
    with pytest.raises(TrainingError) as refusal:
        evaluate(model, corpus, config)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_score_does_not_depend_on_how_texts_are_batched(size: int, tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c d e", "b a", "e e e d", "c d"))
    model = build_model(config, corpus)
    one_by_one = evaluate(model, corpus, in_batches_of(config, 1)).scores
    found = evaluate(model, corpus, in_batches_of(config, size)).scores
    assert [score.value for score in found] == [pytest.approx(score.value, rel=1e-3) for score in one_by_one]


def test_the_unknown_word_rate_is_the_share_of_words_that_training_lacks(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c", "c b a"), test=texts("a new b", "a b newer newest"))
    score = by_metric(evaluate(indifferent(config, corpus), corpus, config).scores)["unknown word rate"]
    assert score.value == pytest.approx(3 / 7, abs=1e-4)
    assert score.split == "test"


def test_figures_claim_no_more_than_four_digits(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c d e f g", "b a g f", "e e e d"))
    for score in evaluate(indifferent(config, corpus), corpus, config).scores:
        for value in (score.value, *score.baselines.values()):
            assert value == float(f"{value:.4g}")


@pytest.mark.parametrize(("unit", "orders"), [("word", (5, 3)), ("char", (8, 5))])
def test_kneser_ney_stands_beside_a_language_model_on_the_same_predictions(
    unit: str, orders: tuple[int, int], tmp_path: Path
) -> None:
    rows = texts("a b c", "a b d", "c d a b", "d a b c a b")
    config, corpus = corpus_of(tmp_path, rows, test=texts("a b d c", "b a"), text={"unit": unit, "sentence_end": True})
    score = by_metric(evaluate(indifferent(config, corpus), corpus, config).scores)["perplexity"]
    assert list(score.baselines) == [f"Kneser-Ney {order}-grams" for order in orders]
    for order, found in zip(orders, score.baselines.values(), strict=True):
        total, predictions = KneserNey(corpus.train, corpus.tokenizer.vocabulary_size, order).nats(corpus.test)
        assert found == pytest.approx(math.exp(total / predictions), rel=1e-3)


def test_a_stream_is_scored_with_the_state_carried_on_and_kneser_ney_over_the_same_lanes(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    rows = texts(*(" ".join("abcde"[word] for word in chance.integers(0, 5, 6)) for _ in range(40)))
    config, corpus = corpus_of(tmp_path, rows, test=rows[:20], fit={"mode": "stream", "window": 4})
    model = build_model(config, corpus)
    score = by_metric(evaluate(model, corpus, config).scores)["perplexity"]
    wider = config.model_copy(update={"fit": config.fit.model_copy(update={"window": 9})})
    assert evaluate(model, corpus, wider).scores[0].value == pytest.approx(score.value, rel=1e-3)
    length = corpus.test.words // 10
    lanes = Samples.of((corpus.test.flat[lane * length : (lane + 1) * length].tolist(), 0) for lane in range(10))
    train = Samples.of([(corpus.train.flat.tolist(), 0)])
    total, predictions = KneserNey(train, corpus.tokenizer.vocabulary_size, 5).nats(lanes)
    assert score.baselines["Kneser-Ney 5-grams"] == pytest.approx(math.exp(total / predictions), rel=1e-3)


def test_a_stream_too_short_for_its_lanes_is_not_what_is_scored(tmp_path: Path) -> None:
    rows = texts(*["a b c d e f"] * 8)
    config, corpus = corpus_of(tmp_path, rows, test=texts("a b c"), fit={"mode": "stream", "window": 4})
    assert evaluate(indifferent(config, corpus), corpus, config).split == "train"


def test_text_too_short_to_score_on_is_refused_in_one_line(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c d e f"), fit={"mode": "stream", "window": 2, "batch_size": 1})
    with pytest.raises(DataError, match="too few"):
        evaluate(indifferent(config, corpus), corpus, config)


# Which split


@pytest.mark.parametrize(("valid", "test", "expected"), [(True, True, "test"), (True, False, "valid"), (False, False, "train")])
def test_scores_are_those_of_what_was_held_out_and_say_where_nothing_was(
    valid: bool, test: bool, expected: str, tmp_path: Path
) -> None:
    held = texts("a a b", "b a")
    config, corpus = corpus_of(tmp_path, texts("a b c", "c b"), valid=held if valid else [], test=held if test else [])
    evaluation = evaluate(indifferent(config, corpus), corpus, config)
    assert {score.split for score in evaluation.scores} == {evaluation.split} == {expected}


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_an_evaluated_model_is_left_ready_for_use(task: str, tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b", "b c") if task == "generate" else [Row("a b", "up"), Row("b c", "down")])
    model = build_model(config, corpus)
    evaluate(model.train(), corpus, config)
    assert not any(module.training for module in model.modules())


# Classification


def test_the_figures_of_a_model_that_always_says_the_first_label(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, [Row("a b", "down")] * 3 + [Row("b c", "up")])
    scores = by_metric(evaluate(stubborn(config, corpus), corpus, config).scores)
    assert scores["accuracy"].value == 0.75
    assert scores["macro F1"].value == pytest.approx((2 * 3 / (2 * 3 + 1) + 0) / 2, abs=1e-4)
    assert (scores["F1 of up"].value, scores["false alarms"].value) == (0, 0)


def test_a_model_that_is_always_right_has_every_figure_at_its_best(tmp_path: Path) -> None:
    rows = [Row("a", "down"), Row("b", "up"), Row("a a", "down"), Row("b b b", "up")]
    config, corpus = corpus_of(tmp_path, rows)
    scores = by_metric(evaluate(decided(config, corpus, "b", 1), corpus, config).scores)
    assert [scores[name].value for name in ("accuracy", "macro F1", "F1 of up", "false alarms")] == [1, 1, 1, 0]


def test_the_rarer_label_is_the_one_that_is_looked_for_and_the_later_one_of_two_alike(tmp_path: Path) -> None:
    for name, rows in (("F1 of a", "abb"), ("F1 of b", "aab"), ("F1 of b", "ab")):
        config, corpus = corpus_of(tmp_path / rows, [Row(f"text {label}", label) for label in rows])
        assert name in by_metric(evaluate(stubborn(config, corpus), corpus, config).scores)


def test_labels_are_called_in_scores_what_they_are_called_in_answers(tmp_path: Path) -> None:
    names = {"0": "부정", "1": "긍정"}
    config, corpus = corpus_of(tmp_path, [Row("a", "0"), Row("b", "1"), Row("b a", "1")], data={"labels": names})
    evaluation = evaluate(stubborn(config, corpus), corpus, config)
    assert evaluation.labels == ["부정", "긍정"]
    assert "F1 of 부정" in by_metric(evaluation.scores)


def test_the_linear_baselines_are_judged_on_the_same_rows_by_the_same_figures(tmp_path: Path) -> None:
    train, test = reviews(80), reviews(30, seed=6)
    config, corpus = corpus_of(tmp_path, train, test=test)
    scores = by_metric(evaluate(stubborn(config, corpus), corpus, config).scores)
    for name, given in linear_baselines(train, len(train), test).items():
        right = sum(label == row.label for label, row in zip(given, test, strict=True))
        assert scores["accuracy"].baselines[name] == pytest.approx(right / len(test), abs=1e-4)
        taken = sum(label == "up" and row.label == "down" for label, row in zip(given, test, strict=True))
        assert scores["false alarms"].baselines[name] == pytest.approx(taken / 15, abs=1e-4)


def test_a_row_without_words_is_no_row_of_any_figure(tmp_path: Path) -> None:
    """Rows and answers stay side by side where a text became no sample."""
    train = [Row("a", "down"), Row("b", "up"), Row("a a", "down"), Row("b b", "up")]
    test = [Row("!", "up"), Row("b", "up"), Row("?", "down"), Row("a b", "up"), Row("a", "down")]
    config, corpus = corpus_of(tmp_path, train, test=test, text={"punctuation": "drop"})
    evaluation = evaluate(decided(config, corpus, "b", 1), corpus, config)
    assert evaluation.answers is not None
    assert evaluation.answers.targets.tolist() == [1, 1, 0]
    assert by_metric(evaluation.scores)["accuracy"].value == 1.0


@pytest.mark.parametrize("size", [1, 4, 100])
def test_answers_are_in_the_order_of_the_rows_however_they_are_batched(size: int, tmp_path: Path) -> None:
    rows = [Row(" ".join("abcde"[: 1 + index * 7 % 5]) + f" w{index}", "xyz"[index % 3]) for index in range(17)]
    config, corpus = corpus_of(tmp_path, rows, model={"ngrams": 2, "buckets": 9})
    model = build_model(config, corpus)
    assert isinstance(model, Classifier)
    with torch.no_grad():
        model.embedding.words.weight *= 30
    found = answer(model, corpus, in_batches_of(config, size), "train")
    assert found.targets.tolist() == [index % 3 for index in range(17)]
    for place in range(17):
        ids = torch.from_numpy(corpus.train.ids(place).astype(np.int64))[None]
        expected = model.logits(ids, torch.tensor([ids.shape[1]])).detach().numpy()
        assert found.logits[place] == pytest.approx(expected[0], abs=1e-5)
    assert len(set(found.predicted.tolist())) > 1


def test_answers_are_in_the_order_of_the_rows_where_there_are_too_many_to_sort_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, corpus = corpus_of(tmp_path, reviews(60))
    model = decided(config, corpus, "good", 1)
    expected = answer(model, corpus, config, "train").logits
    monkeypatch.setattr("training.batches._SORTED", 8)
    assert answer(model, corpus, config, "train").logits == pytest.approx(expected, abs=1e-5)


# Calibration


@pytest.mark.parametrize(("given", "chosen_on"), [("valid and test", "valid"), ("valid", "valid"), ("test", None), ("few", None)])
def test_the_temperature_is_chosen_on_the_valid_split_if_there_is_enough_of_it(
    given: str, chosen_on: str | None, tmp_path: Path
) -> None:
    valid = reviews(FEWEST_ROWS, seed=7) if "valid" in given else reviews(20, seed=7) if given == "few" else []
    test = reviews(60, seed=8) if given != "valid" else []
    config, corpus = corpus_of(tmp_path, reviews(50), valid, test)
    evaluation = evaluate(decided(config, corpus, "good", 1), corpus, config)
    assert (evaluation.temperature != 1.0) == (chosen_on is not None)


def test_the_calibration_error_is_that_of_what_will_be_exported_beside_that_before(tmp_path: Path) -> None:
    """A model that is right nine times in ten and says so with a score of nearly 1."""
    config, corpus = corpus_of(tmp_path, reviews(50), reviews(400, seed=7), reviews(300, seed=8))
    model = decided(config, corpus, "good", 1)
    with torch.no_grad():
        model.output.weight *= 2
    evaluation = evaluate(model, corpus, config)
    score = by_metric(evaluation.scores)["expected calibration error"]
    assert score.baselines["before calibration"] > 0.05
    assert score.value < score.baselines["before calibration"] / 2

    model.calibrate(evaluation.temperature)
    exported = answer(model, corpus, config, "test")
    assert exported.logits == pytest.approx(evaluation.calibrated, abs=1e-4)
    assert score.value == pytest.approx(expected_calibration_error(exported.logits, exported.targets), rel=1e-2)
    assert isinstance(evaluation.answers, Answers)
    assert log_loss(exported.logits, exported.targets) < log_loss(evaluation.answers.logits, exported.targets)


def test_a_score_without_a_temperature_has_nothing_before_it(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, reviews(50), test=reviews(20, seed=8))
    score = by_metric(evaluate(stubborn(config, corpus), corpus, config).scores)["expected calibration error"]
    assert score.baselines == {}
