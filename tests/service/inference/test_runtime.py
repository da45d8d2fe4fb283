"""service.inference.runtime: a row's bits are its own, state is data, and a wrong graph is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Cell, load
from service.errors import SettingsError
from service.inference.runtime import Array, Held, Runtime, State, host, pad, pad_words, require_provider, select, stack, unstack
from service.text import character_ngrams
from service.words import Words
from tests.builders import Small, publish_small

SMALLS = (
    Small(cell="rnn"),
    Small(cell="gru", layers=2),
    Small(cell="lstm", hidden=40),
    Small("classify", "rnn", pooling="last"),
    Small("classify", "gru", bidirectional=True, pooling="mean"),
    Small("classify", "lstm", bidirectional=True, pooling="max", layers=2),
    # onnxruntime's RNN rounds this one by its batch where it is given two threads.
    Small("classify", "rnn", bidirectional=True, layers=2, embedding=50, hidden=100),
    # What these are given is now and then an unknown word.
    Small("classify", "lstm", bidirectional=True, pooling="attention", ngrams=3, tables="int8", hidden=50),
    Small("classify", "gru", pooling="concat", ngrams=4, layers=2),
    Small("classify", "rnn", pooling="attention", ngrams=2, tables="int8"),
    Small("generate", "lstm", tables="int8"),
)


@pytest.fixture(
    scope="module", params=[(small, threads) for small in SMALLS for threads in (1, 2)], ids=lambda p: f"{p[0].name}-{p[1]}"
)
def runtime(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    small, threads = request.param
    folder = tmp_path_factory.mktemp("runtime")
    return Runtime(load(publish_small(folder / "models", small, folder / "scratch")), threads=threads)


@pytest.fixture(scope="module", params=SMALLS[:3], ids=lambda small: small.name)
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runtime, Runtime]:
    """A model that generates, twice: with its state in arrays, and bound to where it is computed."""
    folder = tmp_path_factory.mktemp("both")
    artifact = load(publish_small(folder / "models", request.param, folder / "scratch"))
    return Runtime(artifact, bound=False), Runtime(artifact, bound=True)


def read(runtime: Runtime, ids: list[int]) -> Words:
    """The words of ids; for a model with n-grams those beyond its vocabulary are unknown words, the same ones for the same ids."""
    vocabulary, ngrams = runtime.manifest.sizes.vocabulary, runtime.manifest.ngrams
    if ngrams is None:
        return Words(ids)
    unknown = sorted({word for word in ids if word >= vocabulary})
    rows = [np.array(character_ngrams("고래" * word, ngrams.longest, ngrams.buckets, ngrams.slots)) for word in unknown]
    return Words([word if word < vocabulary else vocabulary + unknown.index(word) for word in ids], rows)


def answers(runtime: Runtime, texts: list[list[int]], padding: int = 0) -> tuple[Array, State]:
    """padding: steps of it that are behind all texts."""
    words, vocabulary = [read(runtime, ids) for ids in texts], runtime.manifest.sizes.vocabulary
    ids, lengths, grams = pad_words(words, runtime.manifest.special_ids.padding, vocabulary)
    ids = np.pad(ids, ((0, 0), (0, padding)), constant_values=0)
    if runtime.manifest.task == "classify":
        return runtime.classify(ids, lengths, grams), ()
    logits, state = runtime.step(ids, lengths, runtime.initial_state(len(texts)))
    return logits, host(state)


def same(one: Held, other: Held) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(host(one), host(other), strict=True))


TEXTS = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=8), min_size=1, max_size=8)


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=12), min_size=1, max_size=64), data=st.data())
def test_a_row_has_the_same_bits_alone_and_among_any_others(runtime: Runtime, texts: list[list[int]], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(texts) - 1))
    logits, state = answers(runtime, texts)
    alone, alone_state = answers(runtime, [texts[row]])
    assert np.array_equal(logits[row], alone[0])
    assert all(np.array_equal(one[:, row], other[:, 0]) for one, other in zip(state, alone_state, strict=True))


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=8), min_size=1, max_size=8), padding=st.integers(1, 30))
def test_more_padding_changes_no_bit(runtime: Runtime, texts: list[list[int]], padding: int) -> None:
    (logits, state), (other_logits, other_state) = answers(runtime, texts), answers(runtime, texts, padding)
    assert np.array_equal(logits, other_logits)
    assert same(state, other_state)


def test_rows_of_characters_that_nobody_asks_for_change_no_bit(runtime: Runtime) -> None:
    if runtime.manifest.ngrams is None:
        return
    texts = [read(runtime, ids) for ids in ([3, 18, 4], [19], [5, 6])]
    ids, lengths, grams = pad_words(texts, 0, runtime.manifest.sizes.vocabulary)
    assert grams is not None
    expected = runtime.classify(ids, lengths, grams)
    for more in (1, 2, 7, 100):
        others = np.concatenate([grams, np.full((more, grams.shape[1]), 5)])
        assert np.array_equal(runtime.classify(ids, lengths, others), expected)


def test_the_weights_are_not_kept_twice(tmp_path: Path) -> None:
    artifact = load(publish_small(tmp_path / "models", SMALLS[2], tmp_path / "scratch"))
    before = sys.getrefcount(artifact.graph)
    runtime = Runtime(artifact)
    after = sys.getrefcount(artifact.graph)  # an assertion holds on to what it looks at
    assert after == before
    assert runtime.manifest is artifact.manifest


def test_a_state_is_not_changed_by_the_step_that_reads_it(runtime: Runtime) -> None:
    if runtime.manifest.task == "classify":
        return
    state = tuple(np.full_like(part, 0.25) for part in runtime.initial_state(2))
    before = [part.copy() for part in state]
    runtime.step(np.array([[3], [4]]), np.ones(2, np.int32), state)
    assert all(np.array_equal(one, other) for one, other in zip(state, before, strict=True))


@settings(deadline=None, max_examples=25)
@given(texts=TEXTS, data=st.data())
def test_the_wanted_rows_are_those_of_all_in_the_order_asked_for(
    both: tuple[Runtime, Runtime], texts: list[list[int]], data: st.DataObject
) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10))
    ids, lengths = pad(texts, 0)
    for runtime in both:
        every, state = runtime.step(ids, lengths, runtime.initial_state(len(texts)))
        some, state_too = runtime.step(ids, lengths, runtime.initial_state(len(texts)), np.array(wanted, np.int64))
        assert np.array_equal(some, every[wanted])
        assert same(state, state_too)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_where_nobody_is_wanted_there_are_no_logits_and_the_state_goes_on(both: tuple[Runtime, Runtime], rows: int) -> None:
    ids, lengths = pad([[3 + row] * (row + 1) for row in range(rows)], 0)
    for runtime in both:
        _, expected = runtime.step(ids, lengths, runtime.initial_state(rows))
        logits, state = runtime.step(ids, lengths, runtime.initial_state(rows), np.zeros(0, np.int64))
        assert logits.shape == (0, runtime.manifest.sizes.vocabulary)
        assert same(state, expected)


@settings(deadline=None, max_examples=25)
@given(texts=TEXTS, words=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_a_state_that_stays_where_it_is_computed_goes_on_with_the_bits_of_one_that_is_fetched(
    both: tuple[Runtime, Runtime], texts: list[list[int]], words: list[int]
) -> None:
    ids, lengths = pad(texts, 0)
    logits, states = [], []
    for runtime in both:
        steps = [runtime.step(ids, lengths, runtime.initial_state(len(texts)))]
        for word in words:
            steps.append(runtime.step(np.full((len(texts), 1), word), np.ones(len(texts), np.int32), steps[-1][1]))
        logits.append([step[0] for step in steps])
        states.append([step[1] for step in steps])
    assert all(np.array_equal(one, other) for one, other in zip(*logits, strict=True))
    assert all(same(one, other) for one, other in zip(*states, strict=True))


def test_only_a_bound_runtime_keeps_its_state_where_it_was_computed(both: tuple[Runtime, Runtime]) -> None:
    for runtime, kind in zip(both, (np.ndarray, ort.OrtValue), strict=True):
        _, state = runtime.step(*pad([[3], [4]], 0), runtime.initial_state(2))
        assert all(isinstance(part, kind) for part in state)
        assert all(isinstance(part, np.ndarray) for part in host(state))


def test_a_lone_row_comes_back_alone(both: tuple[Runtime, Runtime]) -> None:
    """Also where it is run twice, since onnxruntime's RNN rounds a lone row in its own way."""
    for runtime in both:
        state: Held = runtime.initial_state(1)
        among: Held = runtime.initial_state(3)
        for word in (3, 4, 5):
            logits, state = runtime.step(np.array([[word]]), np.ones(1, np.int32), state)
            others, among = runtime.step(np.array([[9], [word], [8]]), np.ones(3, np.int32), among)
            assert logits.shape == (1, runtime.manifest.sizes.vocabulary)
            assert np.array_equal(logits[0], others[1])
            assert same(state, select(host(among), [1]))


@st.composite
def states(draw: st.DrawFn) -> State:
    parts, layers, rows, hidden = (draw(st.integers(1, n)) for n in (2, 3, 6, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(random.standard_normal((layers, rows, hidden)).astype(np.float32) for _ in range(parts))


@given(state=states())
def test_stack_and_unstack_are_inverses(state: State) -> None:
    rows = unstack(state)
    assert all(part.shape[1] == 1 for row in rows for part in row)
    assert all(np.array_equal(one, other) for one, other in zip(stack(rows), state, strict=True))
    again = unstack(stack(rows))
    assert all(np.array_equal(a, b) for one, other in zip(again, rows, strict=True) for a, b in zip(one, other, strict=True))


@given(state=states(), data=st.data())
def test_selected_rows_are_copies_in_the_order_asked_for(state: State, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, state[0].shape[1] - 1), min_size=1, max_size=8))
    chosen = select(state, rows)
    for part, whole in zip(chosen, state, strict=True):
        assert np.array_equal(part, whole[:, rows])
        assert not np.shares_memory(part, whole)


@given(rows=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_padding_keeps_every_id_in_its_place(rows: list[list[int]]) -> None:
    ids, lengths = pad(rows, 0)
    assert ids.shape == (len(rows), max(map(len, rows)))
    assert [line[:length].tolist() for line, length in zip(ids, lengths, strict=True)] == rows
    assert all((line[length:] == 0).all() for line, length in zip(ids, lengths, strict=True))


@given(data=st.data())
def test_a_batch_of_texts_keeps_every_unknown_word_with_its_characters(data: st.DataObject) -> None:
    texts = []
    for _ in range(data.draw(st.integers(1, 8))):
        grams = [np.array(row) for row in data.draw(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), max_size=4))]
        texts.append(Words(data.draw(st.lists(st.integers(1, 99 + len(grams)), min_size=1, max_size=9)), grams))
    ids, lengths, rows = pad_words(texts, 0, 100)
    assert (rows is None) == (not any(text.grams for text in texts))
    for text, line, length in zip(texts, ids.tolist(), lengths, strict=True):
        for before, after in zip(text.ids, line[:length], strict=True):
            if before < 100:
                assert after == before
            else:
                assert rows is not None
                assert rows[after - 100].tolist() == text.grams[before - 100].tolist()


def test_cuda_where_it_cannot_be_had_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"SEQSERVE_PROVIDER=cuda.*requirements-cuda\.lock"):
        require_provider("cuda")


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_initial_state_is_zeros_of_the_manifests_size(cell: Cell, tmp_path: Path) -> None:
    artifact = load(publish_small(tmp_path / "models", Small(cell=cell, layers=2), tmp_path / "scratch"))
    state = Runtime(artifact).initial_state(3)
    assert [part.shape for part in state] == [(2, 3, 16)] * (2 if cell == "lstm" else 1)
    assert not any(part.any() for part in state)
    assert artifact.manifest.state_bytes == sum(part.nbytes for part in state) // 3
