"""training.pooling: real words only, the same bits whatever stands beside and behind them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Pooling, Tensor
from training.graph import GraphBuilder, Steps
from training.pooling import pool

Array = npt.NDArray[np.float32]

POOLINGS: tuple[Pooling, ...] = ("last", "mean", "max", "attention", "concat")
WIDTHS = (1, 2, 7, 16, 33, 100)
LONGEST = 90


@cache
def session(pooling: Pooling, width: int, threads: int = 1) -> ort.InferenceSession:
    """A graph that pools steps (T, B, width) of lengths (B), as its only work."""
    graph = GraphBuilder()
    steps = Tensor(name="steps", dtype="float32", shape=["time", "batch", width])
    last = Tensor(name="last", dtype="float32", shape=["batch", width])
    lengths = Tensor(name="lengths", dtype="int32", shape=["batch"])
    pooled = pool(graph, pooling, Steps("steps", "last", []), "lengths", width, torch.from_numpy(attention(width))[None])
    output = Tensor(name="pooled", dtype="float32", shape=["batch", width * (3 if pooling == "concat" else 1)])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(graph.finish([steps, last, lengths], [output], [pooled]), options)


def attention(width: int) -> Array:
    return np.random.default_rng(width).standard_normal(width).astype(np.float32)


def texts_of(lengths: Sequence[int], width: int) -> list[Array]:
    """The steps (T, width) of texts, different ones for every place in the list."""
    random = np.random.default_rng(len(lengths))
    return [random.standard_normal((length, width)).astype(np.float32) * 3 for length in lengths]


def pooled(pooling: Pooling, texts: Sequence[Array], padding: int = 0, threads: int = 1) -> Array:
    """padding: steps behind the longest text. What stands there is as large as it may be."""
    width, lengths = texts[0].shape[1], np.array([len(text) for text in texts], np.int32)
    steps = np.full((lengths.max() + padding, len(texts), width), 1e30, np.float32)
    for row, text in enumerate(texts):
        steps[: len(text), row] = text
    last = np.stack([text[-1] for text in texts])
    result: Array = session(pooling, width, threads).run(None, {"steps": steps, "last": last, "lengths": lengths})[0]
    return result


def by_hand(pooling: Pooling, text: Array) -> Array:
    """What a text's steps come to in double precision."""
    wide = text.astype(np.float64)
    scores = np.exp(wide @ attention(text.shape[1]) - np.max(wide @ attention(text.shape[1])))
    parts = {
        "last": wide[-1],
        "max": wide.max(axis=0),
        "mean": wide.mean(axis=0),
        "attention": (scores[:, None] * wide).sum(axis=0) / scores.sum(),
    }
    found: Array = np.concatenate([parts[part] for part in ("last", "max", "mean")]) if pooling == "concat" else parts[pooling]
    return found


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), width=st.sampled_from(WIDTHS), padding=st.integers(0, 5))
def test_it_is_what_it_is_called(pooling: Pooling, lengths: list[int], width: int, padding: int) -> None:
    texts = texts_of(lengths, width)
    for row, text in zip(pooled(pooling, texts, padding), texts, strict=True):
        np.testing.assert_allclose(row, by_hand(pooling, text), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=40),
    width=st.sampled_from(WIDTHS),
    padding=st.integers(0, LONGEST),
)
def test_a_text_has_the_same_bits_alone_and_among_any_others_and_before_any_padding(
    pooling: Pooling, threads: int, lengths: list[int], width: int, padding: int
) -> None:
    texts = texts_of(lengths, width)
    together = pooled(pooling, texts, padding, threads)
    for row, text in zip(together, texts, strict=True):
        assert np.array_equal(row, pooled(pooling, [text])[0])


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e4])
def test_attention_stands_scores_of_any_size(size: float) -> None:
    texts = [text * np.float32(size) for text in texts_of([1, 5, 30], 16)]
    for row, text in zip(pooled("attention", texts), texts, strict=True):
        assert np.isfinite(row).all()
        np.testing.assert_allclose(row, by_hand("attention", text), rtol=1e-2, atol=1e-3 * size)
