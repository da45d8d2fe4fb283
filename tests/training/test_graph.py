"""training.graph: tables are looked up exactly, and sums depend on nothing beside them. Recurrent layers: see test_export."""

from functools import cache

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Tables, Tensor
from training.graph import GraphBuilder
from training.tables import round_rows

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

KINDS: tuple[Tables, ...] = ("float32", "int8")
WORDS, ROWS, SLOTS = 20, 51, 24
WIDTHS = (1, 2, 8, 33, 100)


def numbers(rows: int, width: int) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(rows * 1000 + width).standard_normal((rows, width)).astype(np.float32))
    return values * torch.linspace(0.01, 3, rows)[:, None]


@cache
def vectors_of(kind: Tables, width: int, threads: int = 1) -> ort.InferenceSession:
    """A graph that gives the vectors (T, B, width) of ids (B, T); those from WORDS on are means of rows of another table."""
    graph, rows = GraphBuilder(), numbers(ROWS, width)
    rows[0] = 0
    words, runs = graph.table("words", numbers(WORDS, width), kind), graph.table("runs", rows, kind)
    means = graph.mean_of_rows(runs, "grams", width)
    vectors = graph.known_or_not(graph.time_first("ids"), words, WORDS, means)
    inputs = [Tensor(name="ids", dtype="int64", shape=["b", "t"]), Tensor(name="grams", dtype="int64", shape=["u", SLOTS])]
    output = Tensor(name="vectors", dtype="float32", shape=["t", "b", width])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(graph.finish(inputs, [output], [vectors]), options)


def vectors(kind: Tables, width: int, ids: list[list[int]], grams: Ids, threads: int = 1) -> Array:
    found: Array = vectors_of(kind, width, threads).run(None, {"ids": np.array(ids, np.int64), "grams": grams})[0]
    return found


def runs_of(count: int) -> Ids:
    """Rows for unknown words, each of some runs; the first has none."""
    random = np.random.default_rng(7)
    filled = np.arange(SLOTS)[None] < random.integers(1, SLOTS + 1, (count, 1))
    return np.where(filled, random.integers(1, ROWS, (count, SLOTS)), 0) * (np.arange(count) > 0)[:, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_word_is_its_row_and_an_unknown_one_the_mean_of_its_runs(kind: Tables, width: int) -> None:
    grams = runs_of(5)
    table, runs = numbers(WORDS, width), numbers(ROWS, width)
    if kind == "int8":
        table, runs = round_rows(table), round_rows(runs)
    found = vectors(kind, width, [[0, 3, WORDS - 1, WORDS, WORDS + 1, WORDS + 4]], grams)[:, 0]
    assert np.array_equal(found[:3], table[[0, 3, WORDS - 1]].numpy())
    assert not found[3].any()
    for vector, row in zip(found[4:], grams[[1, 4]], strict=True):
        np.testing.assert_allclose(vector, runs[row[row > 0]].double().mean(dim=0).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(
    ids=st.lists(st.lists(st.integers(0, WORDS + 59), min_size=6, max_size=6), min_size=1, max_size=30),
    width=st.sampled_from(WIDTHS),
)
def test_a_word_has_the_same_bits_beside_any_others(kind: Tables, threads: int, ids: list[list[int]], width: int) -> None:
    grams = runs_of(60)
    together = vectors(kind, width, ids, grams, threads)
    for row, text in enumerate(ids):
        for step, word in enumerate(text):
            own = grams[[word - WORDS]] if word >= WORDS else np.zeros((1, SLOTS), np.int64)
            alone = vectors(kind, width, [[min(word, WORDS)]], own)[0, 0]
            assert np.array_equal(together[step, row], alone)


def test_a_table_of_8_bits_as_a_whole_is_what_is_looked_up() -> None:
    graph, values = GraphBuilder(), numbers(WORDS, 9)
    table = graph.table("words", values, "int8")
    ids, output = Tensor(name="ids", dtype="int64", shape=["n"]), Tensor(name="rows", dtype="float32", shape=["n", 9])
    (whole,) = graph.add("Gather", graph.whole(table), "ids")
    (same,) = graph.add("Sub", whole, graph.look_up(table, "ids"))
    session = ort.InferenceSession(graph.finish([ids], [output, output.model_copy(update={"name": "same"})], [whole, same]))
    rows, difference = session.run(None, {"ids": np.arange(WORDS)})
    assert np.array_equal(rows, round_rows(values).numpy())
    assert not difference.any()
