"""A user's text as samples the way the task wants them, its numbers, and faults told in one line before any time is spent."""

from pathlib import Path

import numpy as np
import pytest

from service.artifact import MAX_INPUT_WORDS
from service.text import character_ngrams
from tests.training.samples import classify, generate, sentences, write_labelled, write_table, write_text
from tests.training.test_rows import refusal
from training.config import Config, FitConfig, ModelConfig, TextConfig
from training.corpus import SLOTS, load_corpus
from training.feeds import fitting_feed
from training.preset import load_config
from training.rows import MendedRow, Row
from training.samples import Samples


def fingerprint(config: Config, folder: Path) -> str:
    return load_corpus(config, folder).fingerprint


def ids_of(samples: Samples) -> list[list[int]]:
    return [samples.ids(row).tolist() for row in range(len(samples))]


def whole(path: Path, task: str = "classify", **updates: object) -> Config:
    """Nothing is held out."""
    return classify(path, valid_fraction=0, test_fraction=0).model_copy(update={"task": task, **updates})


def test_the_fingerprint_tells_whether_two_runs_saw_the_same_data(tmp_path: Path) -> None:
    texts = sentences(80)
    path = write_text(tmp_path / "data.txt", texts)
    first = fingerprint(generate(path), tmp_path)
    assert fingerprint(generate(path), tmp_path) == first
    assert fingerprint(generate(write_text(tmp_path / "copy.txt", texts)), tmp_path) == first
    assert fingerprint(generate(write_text(tmp_path / "less.txt", texts[:-1])), tmp_path) != first
    assert fingerprint(generate(path, valid_fraction=0.3), tmp_path) != first


def test_a_changed_label_changes_the_fingerprint(tmp_path: Path) -> None:
    rows = [("a", "up"), ("b", "down"), ("c", "up")]
    whole = {"valid_fraction": 0, "test_fraction": 0}
    first = fingerprint(classify(write_table(tmp_path / "one.csv", rows), **whole), tmp_path)
    second = fingerprint(classify(write_table(tmp_path / "two.csv", [*rows[:2], ("c", "down")]), **whole), tmp_path)
    assert first != second


def test_the_vocabulary_and_the_labels_are_those_of_the_training_split_alone(tmp_path: Path) -> None:
    train = write_table(tmp_path / "train.csv", [("a b", "up"), ("b c", "down")])
    test = write_table(tmp_path / "test.csv", [("a stranger", "up")])
    corpus = load_corpus(classify(train, test=str(test), valid_fraction=0), tmp_path)
    assert corpus.labels == ["down", "up"]
    assert corpus.tokenizer.encode("stranger").ids == [corpus.tokenizer.unknown_id]
    assert corpus.test.ids(0).tolist() == [*corpus.tokenizer.encode("a").ids, corpus.tokenizer.unknown_id]


def test_the_same_label_has_the_same_target_in_every_split(tmp_path: Path) -> None:
    paths = {name: write_labelled(tmp_path / f"{name}.csv", 6, labels=("c", "a", "b")) for name in ("train", "valid", "test")}
    corpus = load_corpus(classify(paths["train"], valid=str(paths["valid"]), test=str(paths["test"])), tmp_path)
    assert corpus.labels == ["a", "b", "c"]
    for samples in (corpus.train, corpus.valid, corpus.test):
        assert samples.targets.tolist() == [2, 0, 1, 2, 0, 1]


def test_labels_are_called_what_the_preset_calls_them(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 20, labels=("0", "1"))
    assert load_corpus(classify(path, labels={"0": "bad", "1": "good"}), tmp_path).labels == ["bad", "good"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_label_that_no_training_row_has_is_refused_with_its_split(tmp_path: Path, split: str) -> None:
    train = write_labelled(tmp_path / "train.csv", 10)
    other = write_table(tmp_path / "other.csv", [("a", "up"), ("b", "sideways"), ("c", "sideways")])
    message = refusal(
        lambda: load_corpus(classify(train, **{"valid_fraction": 0, "test_fraction": 0, split: str(other)}), tmp_path)
    )
    assert message == f"{split}: 2 rows have the label 'sideways', which no training row has"


def test_one_label_alone_is_refused_with_its_name(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 10, labels=("up",))
    message = refusal(lambda: load_corpus(classify(path), tmp_path))
    assert message.startswith(f"{path}: ")
    assert "'up'" in message


def test_one_sigmoid_unit_for_three_labels_is_refused_by_key(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 12, labels=("a", "b", "c"))
    config = classify(path).model_copy(update={"model": ModelConfig(head="sigmoid")})
    assert "model.head=sigmoid" in refusal(lambda: load_corpus(config, tmp_path))


def test_fewer_rows_than_a_batch_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", sentences(5))
    config = generate(path, valid_fraction=0, test_fraction=0).model_copy(update={"fit": FitConfig(batch_size=6)})
    message = refusal(lambda: load_corpus(config, tmp_path))
    assert "5 usable rows" in message
    assert "batch of 6" in message
    assert len(load_corpus(config.model_copy(update={"fit": FitConfig(batch_size=5)}), tmp_path).train) == 5


def test_a_text_is_cut_at_the_longest_that_training_looks_at(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 20)
    config = classify(path).model_copy(update={"text": TextConfig(max_length=4)})
    corpus = load_corpus(config, tmp_path)
    assert corpus.train.lengths.max() == 4
    first = next(corpus.rows("train"))
    assert corpus.train.ids(0).tolist() == corpus.tokenizer.encode(first.text).ids[:4]


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_text_that_is_scored_is_read_as_the_service_reads_it(tmp_path: Path, task: str) -> None:
    """A score over the first words of a text would be that of another model than the one that serves."""
    texts = ["a b " * 20, "a b " * 600]
    files = {split: tmp_path / f"{split}.{'txt' if task == 'generate' else 'csv'}" for split in ("train", "valid", "test")}
    for file in files.values():
        if task == "generate":
            write_text(file, texts)
        else:
            write_table(file, list(zip(texts, "xy", strict=True)))
    config = whole(files["train"], task, text=TextConfig(max_length=4), fit=FitConfig(batch_size=1))
    found = {split: str(file) for split, file in files.items()}
    config = config.model_copy(update={"data": config.data.model_copy(update=found)})
    corpus = load_corpus(config, tmp_path)
    ends = 1 if task == "generate" else 0
    assert corpus.train.lengths.tolist() == [4 + ends, 4 + ends]
    for samples in (corpus.valid, corpus.test):
        assert samples.lengths.tolist() == [40 + 2 * ends, MAX_INPUT_WORDS + ends]


def test_a_sentence_begins_and_ends_with_the_end_of_one(tmp_path: Path) -> None:
    corpus = load_corpus(generate(write_text(tmp_path / "data.txt", ["a b", "c"]), valid_fraction=0, test_fraction=0), tmp_path)
    end, words = corpus.tokenizer.end_id, corpus.tokenizer.encode
    assert ids_of(corpus.train) == [[end, *words("a b").ids, end], [end, *words("c").ids, end]]
    assert corpus.predictions == 3 + 2


def test_a_sentence_that_is_cut_short_does_not_teach_that_it_ends_there(tmp_path: Path) -> None:
    config = generate(write_text(tmp_path / "data.txt", ["a b c d e f", "g"]), valid_fraction=0, test_fraction=0)
    corpus = load_corpus(config.model_copy(update={"text": TextConfig(max_length=4)}), tmp_path)
    assert corpus.train.ids(0)[-1] != corpus.tokenizer.end_id
    assert corpus.train.ids(1)[-1] == corpus.tokenizer.end_id


def test_without_sentence_ends_every_prefix_of_a_sentence_is_one_prediction(tmp_path: Path) -> None:
    config = generate(write_text(tmp_path / "data.txt", ["a b c", "d e", "alone"]), valid_fraction=0, test_fraction=0)
    corpus = load_corpus(config.model_copy(update={"text": TextConfig(sentence_end=False)}), tmp_path)
    assert corpus.tokenizer.end_id is None
    assert corpus.train.lengths.tolist() == [3, 2]  # a lone word has no next one
    assert corpus.predictions == 2 + 1


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_a_row_of_nothing_but_dropped_marks_is_not_trained_on(tmp_path: Path, task: str) -> None:
    path = write_table(tmp_path / "data.csv", [("a b.", "up"), ("?!", "up"), ("c d", "down")])
    config = classify(path, valid_fraction=0, test_fraction=0).model_copy(
        update={"task": task, "text": TextConfig(punctuation="drop")}
    )
    assert len(load_corpus(config, tmp_path).train) == 2


def test_a_presets_names_for_labels_are_only_for_its_own_labels(tmp_path: Path) -> None:
    def names(labels: list[str]) -> list[str]:
        rows = "".join(f"text {number},{labels[number % len(labels)]}\n" for number in range(40))
        (tmp_path / "reviews.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
        overrides = ["text_column=text", "label_column=label", "fit.batch_size=4", "selftrain.epochs=0"]
        return load_corpus(load_config("korean-sentiment", overrides, str(tmp_path / "reviews.csv")), tmp_path).labels

    assert names(["0", "1"]) == ["negative", "positive"]
    assert names(["1", "2", "3"]) == ["1", "2", "3"]


def test_a_label_of_one_row_is_trained_on_and_never_held_out(tmp_path: Path) -> None:
    for number in range(12):
        rows = "".join(f"text {index},{'ab'[index % 2]}\n" for index in range(60))
        (tmp_path / "rare.csv").write_text(f"text,label\n{rows}only this {number},rare\n", encoding="utf-8")
        corpus = load_corpus(
            load_config("starter-sentiment", ["text_column=text", "label_column=label"], str(tmp_path / "rare.csv")), tmp_path
        )
        assert "rare" in corpus.labels


def test_a_row_in_another_split_changes_the_fingerprint(tmp_path: Path) -> None:
    one, two = (write_text(tmp_path / f"{name}.txt", texts) for name, texts in (("one", ["a b", "c d"]), ("two", ["e f", "g h"])))
    assert fingerprint(generate(one, valid=str(two), test_fraction=0), tmp_path) != fingerprint(
        generate(one, test=str(two), valid_fraction=0), tmp_path
    )


def test_text_without_labels_changes_the_fingerprint(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "data.csv", 20)
    more, other = (write_text(tmp_path / f"{word}.txt", [f"{word} word"]) for word in ("more", "other"))
    found = [fingerprint(classify(path, **data), tmp_path) for data in ({}, {"unlabelled": str(more)}, {"unlabelled": str(other)})]
    assert len(set(found)) == 3


# Streams


def stream(path: Path, **updates: object) -> Config:
    return whole(path, "generate", fit=FitConfig(mode="stream", batch_size=1, window=2), **updates)


def test_the_rows_of_a_stream_are_one_text_whose_sentences_end_where_the_next_begin(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a b", "c", "a c b"])
    corpus = load_corpus(stream(path, text=TextConfig(max_length=2)), tmp_path)  # nothing is cut
    end, words = corpus.tokenizer.end_id, corpus.tokenizer.encode
    assert ids_of(corpus.train) == [[end, *words(text).ids] for text in ("a b", "c", "a c b")]
    assert corpus.train.flat.tolist() == [end, *words("a b").ids, end, *words("c").ids, end, *words("a c b").ids, end]
    assert (corpus.statistics["train"].words, corpus.statistics["train"].cut) == (6, 0)
    assert corpus.statistics["train"].lengths.tolist()[:5] == [0, 1, 1, 1, 0]
    assert corpus.predictions == 6 + 3  # every word and end but the first


@pytest.mark.parametrize("lanes", [2, 3])
def test_the_next_words_of_a_stream_are_those_of_its_lanes(tmp_path: Path, lanes: int) -> None:
    config = stream(write_text(tmp_path / "data.txt", sentences(30)))
    config = config.model_copy(update={"fit": FitConfig(mode="stream", batch_size=lanes, window=2)})
    corpus = load_corpus(config, tmp_path)
    found = sum(int(batch.targets.numel()) for batch in fitting_feed(config, corpus).train(1, 0))
    assert corpus.predictions == found


def test_a_stream_without_sentence_ends_is_its_words(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a b", "c", "?"])
    corpus = load_corpus(stream(path, text=TextConfig(sentence_end=False, punctuation="drop")), tmp_path)
    assert corpus.train.flat.tolist() == corpus.tokenizer.encode("a b c").ids
    assert len(corpus.train) == 2


def test_fewer_words_than_a_window_in_every_lane_are_refused_with_all_numbers(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a b c d e"])  # seven ids with its ends
    for window, enough in ((5, True), (7, False)):
        config = whole(path, "generate", fit=FitConfig(mode="stream", batch_size=1, window=window))
        if enough:
            assert load_corpus(config, tmp_path).train.words == 7
        else:
            message = refusal(lambda config=config: load_corpus(config, tmp_path))  # type: ignore[misc]
            assert message.startswith(f"{path}: 7 words are less than a window of 7 and its next word in each of 1 lanes")


# Characters


def test_characters_as_the_unit_are_counted_and_cut_as_words_are(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["ab ba", "a"])
    corpus = load_corpus(whole(path, "generate", text=TextConfig(unit="char", max_length=4)), tmp_path)
    pieces = [
        "".join(corpus.tokenizer.piece(word) for word in ids if word not in corpus.tokenizer.special_ids)
        for ids in ids_of(corpus.train)
    ]
    assert pieces == [" ab ", " a"]
    assert corpus.statistics["train"].cut == 1


# Unknown words and their runs of characters


def grams_of(word: str) -> list[int]:
    return character_ngrams(word, 4, 100, SLOTS)


def with_ngrams(folder: Path) -> Config:
    train = write_table(folder / "train.csv", [("a b", "up"), ("b c", "down")])
    test = write_table(folder / "test.csv", [("stranger a other; stranger", "up"), ("b other a b beyond", "up")])
    config = classify(train, test=str(test), valid_fraction=0, unlabelled=str(write_text(folder / "more.txt", ["a d", "b, e"])))
    model = ModelConfig(ngrams=4, buckets=100)
    return config.model_copy(update={"model": model, "text": TextConfig(max_length=4, max_words=3)})


def test_unknown_words_are_told_apart_by_the_runs_of_their_characters(tmp_path: Path) -> None:
    corpus = load_corpus(with_ngrams(tmp_path), tmp_path)
    v, a, b = corpus.tokenizer.vocabulary_size, *corpus.tokenizer.encode("a b").ids
    first, second = ids_of(corpus.test)
    assert [first[1], second[0], second[2], second[3]] == [a, b, a, b]
    unknown = [first[0], first[2], first[3], second[1]]
    rows = corpus.test.grams(np.array(unknown) - v).tolist()
    assert rows == [grams_of(word) for word in ("stranger", "other", ";", "other")]


def test_known_words_have_the_runs_of_their_characters_and_special_ones_none(tmp_path: Path) -> None:
    corpus = load_corpus(with_ngrams(tmp_path), tmp_path)
    assert corpus.ngrams is not None
    assert corpus.known_grams is not None
    assert (corpus.ngrams.longest, corpus.ngrams.buckets, corpus.ngrams.slots) == (4, 100, SLOTS)
    words = [
        None if word in corpus.tokenizer.special_ids else corpus.tokenizer.piece(word).strip()
        for word in range(len(corpus.known_grams))
    ]
    assert corpus.known_grams.tolist() == [[0] * SLOTS if word is None else grams_of(word) for word in words]


def test_without_runs_an_unknown_word_is_one_like_all_others(tmp_path: Path) -> None:
    config = with_ngrams(tmp_path).model_copy(update={"model": ModelConfig()})
    corpus = load_corpus(config, tmp_path)
    assert (corpus.ngrams, corpus.known_grams, corpus.test.tells_unknown_apart) == (None, None, False)
    assert corpus.test.ids(0)[0] == corpus.tokenizer.unknown_id


def test_text_without_labels_brings_words_and_no_labels(tmp_path: Path) -> None:
    for config in (with_ngrams(tmp_path), with_ngrams(tmp_path).model_copy(update={"model": ModelConfig()})):
        corpus = load_corpus(config.model_copy(update={"text": TextConfig()}), tmp_path)
        assert corpus.unlabelled is not None
        assert ids_of(corpus.unlabelled) == [corpus.tokenizer.encode(text).ids for text in ("a d", "b, e")]
        assert corpus.tokenizer.unknown_id not in corpus.unlabelled.flat
        assert corpus.labels == ["down", "up"]
        assert [row.text for row in corpus.rows("unlabelled")] == ["a d", "b, e"]


def test_text_without_labels_is_there_only_where_it_is_given(tmp_path: Path) -> None:
    corpus = load_corpus(classify(write_labelled(tmp_path / "data.csv", 20)), tmp_path)
    assert corpus.unlabelled is None
    assert set(corpus.statistics) == {"train", "valid", "test"}


# Rows and their numbers


@pytest.mark.parametrize("task", ["generate", "classify"])
def test_rows_are_those_that_became_samples_in_their_order(tmp_path: Path, task: str) -> None:
    rows = [("?", "up"), ("a b", "up"), ("c", "down"), ("!", "up"), ("...", "up"), ("d e", "down"), (".", "down")]
    path = write_table(tmp_path / "data.csv", rows)
    text = TextConfig(punctuation="drop", sentence_end=False)
    corpus = load_corpus(whole(path, task, text=text), tmp_path)
    found = list(corpus.rows("train"))
    assert [corpus.tokenizer.encode(row.text).ids for row in found] == ids_of(corpus.train)
    assert [row.text for row in found] == (["a b", "d e"] if task == "generate" else ["a b", "c", "d e"])
    assert list(corpus.rows("valid")) == []


def test_held_out_rows_are_in_the_order_of_their_samples(tmp_path: Path) -> None:
    corpus = load_corpus(generate(write_text(tmp_path / "data.txt", sentences(300))), tmp_path)
    for split, samples in (("train", corpus.train), ("valid", corpus.valid), ("test", corpus.test)):
        assert len(samples) > 10
        ids = [corpus.tokenizer.encode(row.text).ids for row in corpus.rows(split)]
        assert [one[1:-1] for one in ids_of(samples)] == ids


def test_the_numbers_of_a_split_are_those_of_its_texts(tmp_path: Path) -> None:
    train = write_table(tmp_path / "train.csv", [("a b c d e", "up"), ("b c", "down"), ("a\0b", "up"), ("?", "up")])
    test = write_table(tmp_path / "test.csv", [("a new a", "up"), ("b c", "down"), ("b c", "up"), ("new new new new", "down")])
    more = write_text(tmp_path / "more.txt", ["b c", "b c", "a new a", "z"])
    config = classify(train, test=str(test), valid_fraction=0, unlabelled=str(more), labels={"up": "good", "down": "bad"})
    text = TextConfig(max_length=3, max_words=5, punctuation="drop")
    for model in (ModelConfig(), ModelConfig(ngrams=2)):
        numbers = load_corpus(config.model_copy(update={"text": text, "model": model}), tmp_path).statistics
        train_ones, test_ones, more_ones = (numbers[split] for split in ("train", "test", "unlabelled"))
        assert (train_ones.rows, train_ones.words, train_ones.longest, train_ones.cut) == (3, 7, 5, 1)
        assert train_ones.lengths.tolist() == [0, 0, 2, 1]
        assert train_ones.labels == {"bad": 1, "good": 2}
        assert (train_ones.nul_rows, train_ones.duplicates) == (1, 0)
        assert (test_ones.rows, test_ones.duplicates, test_ones.nul_rows) == (4, 2, 0)
        assert (test_ones.words, test_ones.cut) == (11, 0)
        assert test_ones.labels == {"bad": 2, "good": 2}
        assert (more_ones.rows, more_ones.duplicates, more_ones.labels) == (4, 3, {})
        assert numbers["valid"].rows == 0
    known = load_corpus(config.model_copy(update={"text": TextConfig(max_words=2)}), tmp_path)
    assert known.statistics["test"].unknown == (known.test.flat == known.tokenizer.unknown_id).sum() > 0


def test_a_row_with_nul_characters_is_the_row_with_spaces(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["a\0b", "c d"])
    rows = list(load_corpus(whole(path, "generate"), tmp_path).rows("train"))
    assert rows == [Row("a b", None), Row("c d", None)]
    assert isinstance(rows[0], MendedRow)


# Bad text, and much of it


def test_a_line_of_a_million_characters_is_cut_like_any_other(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data.txt", ["word " * 200_000, "w" * 1_000_000, "a b", "1,000." * 150_000])
    corpus = load_corpus(whole(path, "generate", text=TextConfig(max_length=10)), tmp_path)
    assert corpus.train.lengths.tolist() == [11, 3, 4, 11]
    assert corpus.statistics["train"].longest > 200_000
    assert max(len(corpus.tokenizer.piece(word)) for word in range(corpus.tokenizer.vocabulary_size)) < 1_001


@pytest.mark.parametrize("split", ["train", "valid", "test", "unlabelled"])
def test_a_fault_at_the_end_of_any_file_is_told_before_training(tmp_path: Path, split: str) -> None:
    paths = {name: write_labelled(tmp_path / f"{name}.csv", 20) for name in ("train", "valid", "test", "unlabelled")}
    paths[split].write_bytes(paths[split].read_bytes() + b'"open,up')
    rest = {name: str(path) for name, path in paths.items() if name != "train"}
    message = refusal(lambda: load_corpus(classify(paths["train"], **rest), tmp_path))
    assert message.startswith(f"{paths[split]}: a quote is opened and never closed")


def test_a_folder_that_cannot_be_written_to_is_told_by_name(tmp_path: Path) -> None:
    config = classify(write_labelled(tmp_path / "data.csv", 20))
    assert refusal(lambda: load_corpus(config, tmp_path / "none")).startswith(f"{tmp_path / 'none'}: ")


def test_a_corpus_is_not_disturbed_by_another_in_the_same_folder(tmp_path: Path) -> None:
    first = load_corpus(generate(write_text(tmp_path / "one.txt", sentences(50))), tmp_path)
    before, lengths = ids_of(first.train), first.train.lengths.tolist()
    load_corpus(generate(write_text(tmp_path / "two.txt", ["a b c"] * 40)), tmp_path)
    assert ids_of(first.train) == before
    assert first.train.lengths.tolist() == lengths
