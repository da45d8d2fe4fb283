"""A new model is compared with the one that serves, on the same texts: a worse one is refused, a better one told by how much."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from service.artifact import MAX_INPUT_WORDS, Cell, load
from service.inference.runtime import Runtime
from service.manifest import Task
from tests.builders import WORDS, Small, publish_small, small_model
from tests.service.damage import copy_version, flip_byte
from training import gate
from training.evaluate import evaluate
from training.gate import Candidate, Verdict, accuracy, judge, serving
from training.model import Classifier, LanguageModel
from training.rows import Row

GENERATES = Small("generate", "gru", sentence_end=False)
CLASSIFIES = Small("classify", "gru")
READS_CHARACTERS = Small("classify", "gru", ngrams=3)
TEXTS = ["오늘 날씨가 정말 좋다", "the cat sat on a mat", "집 앞 공원에 사람들이", "some music", "집 앞 the cat 좋다", "a mat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


def published(models: Path, small: Small, scratch: Path) -> Candidate:
    """The model as the next version in models."""
    artifact = load(publish_small(models, small, scratch / str(small.seed)))
    return Candidate(artifact, Runtime(artifact))


def answered_by(model: Candidate, texts: list[str] = TEXTS) -> list[Row]:
    """Rows whose labels are what the model says."""
    labels, encode = model.artifact.manifest.labels, model.artifact.encode
    return [Row(text, labels[int(model.runtime.classify_texts([encode(text)]).argmax())]) for text in texts]


@pytest.fixture(scope="module")
def classifiers(folder: Path) -> tuple[Candidate, Candidate]:
    """Two of one name that answer some texts differently."""
    first, second = (
        published(folder / f"classify-{seed}", replace(CLASSIFIES, seed=seed, labels=("a", "b", "c")), folder / "scratch")
        for seed in (1, 2)
    )
    assert answered_by(first) != answered_by(second)
    return first, second


@pytest.fixture(scope="module")
def language_models(folder: Path) -> tuple[Candidate, Candidate]:
    first, second = (published(folder / f"generate-{seed}", replace(GENERATES, seed=seed), folder / "scratch") for seed in (1, 2))
    return first, second


def beside(served: Candidate, candidate: Candidate, rows: list[Row], names: dict[str, str] | None = None) -> Verdict:
    return judge(served.artifact.path.parents[1], candidate, rows, len(rows), names or {})


def renamed(candidate: Candidate, other: Candidate) -> Candidate:
    """The model under the name of the other one."""
    manifest = candidate.artifact.manifest.model_copy(update={"name": other.artifact.manifest.name})
    return Candidate(replace(candidate.artifact, manifest=manifest), candidate.runtime)


def figures(verdict: Verdict) -> list[float]:
    """The two figures of its sentence, the candidate's first."""
    found = re.search(r"(?:accuracy|perplexity) ([0-9.e+]+) against ([0-9.e+]+) on ", verdict.sentence)
    assert found, verdict.sentence
    return [float(figure) for figure in found.groups()]


# Who is compared


def test_where_there_is_no_version_nothing_is_refused(classifiers: tuple[Candidate, Candidate], tmp_path: Path) -> None:
    for models in (tmp_path, tmp_path / "none"):
        verdict = judge(models, classifiers[0], answered_by(classifiers[0]), 1, {})
        assert (verdict.version, verdict.refused) == (None, False)
        assert f"no version of {CLASSIFIES.name}" in verdict.sentence


def test_the_highest_good_version_is_the_one_that_serves(classifiers: tuple[Candidate, Candidate], tmp_path: Path) -> None:
    source, name = classifiers[0].artifact.path.parents[1], classifiers[0].artifact.manifest.name
    for version in (1, 2, 10):
        copy_version(source, name, tmp_path, version)
    flip_byte(tmp_path / name / "10" / "model.onnx")
    served = serving(tmp_path, name)
    assert served is not None
    assert served.artifact.manifest.version == 2
    assert judge(tmp_path, classifiers[1], answered_by(classifiers[1]), 1, {}).version == 2
    for version in (1, 2):
        flip_byte(tmp_path / name / str(version) / "tokenizer.json")
    assert serving(tmp_path, name) is None
    assert not judge(tmp_path, classifiers[1], answered_by(classifiers[1]), 1, {}).refused


def test_a_model_for_another_task_is_refused_by_both_names(
    classifiers: tuple[Candidate, Candidate], language_models: tuple[Candidate, Candidate]
) -> None:
    served = classifiers[0]
    verdict = beside(served, renamed(language_models[0], served), answered_by(served))
    assert (verdict.version, verdict.refused) == (1, True)
    assert "/classify" in verdict.sentence
    assert "/generate" in verdict.sentence


def test_without_a_test_row_nothing_is_refused_and_it_says_so(classifiers: tuple[Candidate, Candidate]) -> None:
    verdict = beside(*classifiers, rows=[])
    assert (verdict.version, verdict.refused) == (1, False)
    assert "nothing was held out" in verdict.sentence
    assert "version 1" in verdict.sentence


@pytest.mark.parametrize("task", ["classify", "generate"])
def test_the_very_model_that_serves_is_told_apart_from_an_equal_one(
    classifiers: tuple[Candidate, Candidate], language_models: tuple[Candidate, Candidate], task: Task
) -> None:
    models = classifiers if task == "classify" else language_models
    same, other = beside(models[0], models[0], [Row(TEXTS[0], "a")]), beside(*models, [Row(TEXTS[0], "a")])
    assert (same.same, same.refused) == (True, False)
    assert "version 1 is this very model" in same.sentence
    assert not other.same


# Classification


def test_a_worse_classifier_is_refused_with_both_figures_and_the_version(classifiers: tuple[Candidate, Candidate]) -> None:
    served, candidate = classifiers
    rows = answered_by(served)
    verdict = beside(served, candidate, rows)
    right = sum(ours == theirs for ours, theirs in zip(answered_by(candidate), rows, strict=True)) / len(rows)
    assert (verdict.version, verdict.refused) == (1, True)
    assert verdict.sentence.startswith("worse than version 1: accuracy ")
    assert figures(verdict) == [pytest.approx(right, rel=1e-3), 1.0]
    assert verdict.sentence.endswith(f"on {len(rows)} test rows")


def test_a_better_classifier_is_told_by_how_much(classifiers: tuple[Candidate, Candidate]) -> None:
    served, candidate = classifiers
    verdict = beside(served, candidate, answered_by(candidate))
    ours, theirs = figures(verdict)
    assert not verdict.refused
    found = re.match(r"beats version 1 by ([0-9.]+): ", verdict.sentence)
    assert found, verdict.sentence
    assert float(found[1]) == pytest.approx(ours - theirs, rel=1e-2)
    assert ours == 1.0 > theirs


def test_an_equal_classifier_is_not_refused(classifiers: tuple[Candidate, Candidate]) -> None:
    rows = [row for row, other in zip(*map(answered_by, classifiers), strict=True) if row == other]
    assert rows
    verdict = beside(*classifiers, rows=rows)
    assert not verdict.refused
    assert verdict.sentence.startswith("as good as version 1: ")


def test_labels_are_compared_by_the_names_that_they_are_shown_with(classifiers: tuple[Candidate, Candidate]) -> None:
    served, candidate = classifiers
    names = {"0": "a", "1": "b", "2": "c"}
    numbers = {name: number for number, name in names.items()}
    rows = [Row(row.text, numbers[str(row.label)]) for row in answered_by(candidate)]
    assert accuracy(candidate, rows, names) == 1.0
    assert accuracy(candidate, rows, {}) == 0.0  # a label that the model does not have is one that it does not find
    assert figures(beside(served, candidate, rows, names))[0] == 1.0


def test_a_text_without_words_is_a_wrong_answer_and_no_failure(classifiers: tuple[Candidate, Candidate]) -> None:
    assert accuracy(classifiers[0], [*answered_by(classifiers[0], TEXTS[:3]), Row("", "a")], {}) == 0.75


@pytest.mark.parametrize("small", [CLASSIFIES, READS_CHARACTERS], ids=["words", "ngrams"])
def test_its_accuracy_is_that_of_the_evaluation(small: Small, folder: Path, tmp_path: Path) -> None:
    config, corpus, model = small_model(small, tmp_path)
    assert isinstance(model, Classifier)
    expected = evaluate(model, corpus, config).scores[0]
    assert expected.metric == "accuracy"
    found = accuracy(published(tmp_path / "models", small, tmp_path / "scratch"), list(corpus.rows("train")), {})
    assert 0 < found < 1
    assert found == pytest.approx(expected.value, rel=1e-3)


# Generation


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_its_perplexity_is_that_of_the_evaluation_where_the_vocabularies_are_the_same(cell: Cell, tmp_path: Path) -> None:
    smalls = [replace(GENERATES, cell=cell, seed=seed) for seed in (1, 2)]
    served, candidate = (
        published(tmp_path / f"models-{small.seed}", small, tmp_path / "scratch") for small in (smalls[1], smalls[0])
    )
    config, corpus, model = small_model(smalls[0], tmp_path / "again")
    assert isinstance(model, LanguageModel)
    expected = evaluate(model, corpus, config).scores[0]
    assert expected.metric == "perplexity"
    rows = list(corpus.rows("train"))
    verdict = beside(served, candidate, rows)
    assert figures(verdict)[0] == pytest.approx(expected.value, rel=1e-3)
    assert verdict.sentence.endswith(f"on {corpus.predictions:,} words of {len(rows)} test rows that both know")


def test_of_two_language_models_the_one_with_more_perplexity_is_refused(language_models: tuple[Candidate, Candidate]) -> None:
    rows = [Row(text, None) for text in TEXTS]
    there, back = beside(*language_models, rows=rows), beside(language_models[1], language_models[0], rows)
    ours, theirs = figures(there)
    assert figures(back) == [theirs, ours]
    assert there.refused == (ours > theirs)
    assert back.refused == (theirs > ours)
    worse, better = (there, back) if there.refused else (back, there)
    assert worse.sentence.startswith("worse than version 1: perplexity ")
    assert better.sentence.startswith("beats version 1 by ")


def test_with_another_vocabulary_only_words_that_both_know_count(
    language_models: tuple[Candidate, Candidate], tmp_path: Path
) -> None:
    """All others are unknown to one of them, which would be easy to predict."""
    fewer = published(tmp_path / "models", replace(GENERATES, words=("the", "cat", "sat", "mat"), seed=3), tmp_path / "scratch")
    verdict = beside(language_models[0], fewer, [Row("the dog sat on the cat", None), Row("오늘 날씨가 the", None)])
    assert verdict.sentence.endswith("on 4 words of 2 test rows that both know")  # a text's first word is given
    alone = beside(language_models[0], fewer, [Row("the dog sat on the cat", None)])
    assert alone.sentence.endswith("on 3 words of 1 test rows that both know")


def test_models_without_a_word_in_common_cannot_be_told_apart_and_the_new_one_is_refused(
    language_models: tuple[Candidate, Candidate], tmp_path: Path
) -> None:
    other = published(tmp_path / "models", replace(GENERATES, words=("uno", "due", "tre"), seed=3), tmp_path / "scratch")
    verdict = beside(language_models[0], other, [Row("uno due tre", None)])
    assert (verdict.version, verdict.refused) == (1, True)
    assert "no word of the test split is known to version 1 too" in verdict.sentence


def test_a_model_that_splits_texts_otherwise_cannot_be_compared_and_is_refused(
    language_models: tuple[Candidate, Candidate], tmp_path: Path
) -> None:
    by_characters = published(tmp_path / "models", replace(GENERATES, unit="char"), tmp_path / "scratch")
    verdict = beside(language_models[0], renamed(by_characters, language_models[0]), [Row(text, None) for text in TEXTS])
    assert (verdict.version, verdict.refused) == (1, True)
    assert "splits texts into other words" in verdict.sentence


def test_of_very_many_rows_some_are_taken_evenly_however_they_are_sorted(
    classifiers: tuple[Candidate, Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_ROWS", 10)
    rows = [Row(text, "a") for text in TEXTS for _ in range(30)]
    every = -(-len(rows) // 10)
    verdict = beside(*classifiers, rows=rows)
    assert f"on {len(rows[::every])} test rows" in verdict.sentence


# Texts of any length


def test_of_an_endless_text_no_more_is_read_than_of_a_long_one(
    classifiers: tuple[Candidate, Candidate], language_models: tuple[Candidate, Candidate]
) -> None:
    long, endless = (Row(" ".join(WORDS * times), "a") for times in (MAX_INPUT_WORDS // len(WORDS) + 1, 20_000))
    assert beside(*language_models, rows=[endless]) == beside(*language_models, rows=[long])
    assert accuracy(classifiers[0], [endless], {}) == accuracy(classifiers[0], [long], {})
