"""The CUDA execution provider: what is promised of it, proven where there is a device, and skipped for all to see where not."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from service.artifact import Cell, Pooling, load
from service.inference.batch import Batch
from service.inference.runtime import Array, Runtime, State, pad, select
from tests.builders import Small, publish_small

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers(), reason="no CUDA execution provider in this onnxruntime"
)

CELLS: list[Cell] = ["rnn", "gru", "lstm"]
TEXTS = [[3, 4, 5, 6, 7, 8, 9], [10], [11, 12, 13], [5, 4]]
CLOSE = 1e-3  # of logits of the size of 1: other kernels sum in another order


def runtimes(small: Small, folder: Path) -> tuple[Runtime, Runtime]:
    artifact = load(publish_small(folder / "models", small, folder / "scratch"))
    return Runtime(artifact, "cuda"), Runtime(artifact, "cpu")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_padded_batch_reads_as_the_cpu_reads_it(cell: Cell, layers: int, tmp_path: Path) -> None:
    cuda, cpu = runtimes(Small(cell=cell, layers=layers), tmp_path)
    ids, lengths = pad(TEXTS, 0)
    logits, expected = (r.step(ids, lengths, r.initial_state(len(TEXTS)))[0] for r in (cuda, cpu))
    assert np.allclose(logits, expected, atol=CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing_for_a_bidirectional_classifier(cell: Cell, tmp_path: Path) -> None:
    cuda, cpu = runtimes(Small("classify", cell, bidirectional=True), tmp_path)
    together = cuda.classify(*pad(TEXTS, 0))
    assert np.allclose(together, cpu.classify(*pad(TEXTS, 0)), atol=CLOSE)
    for row, text in zip(together, TEXTS, strict=True):
        assert np.allclose(row, cuda.classify(*pad([text], 0))[0], atol=CLOSE)


@pytest.mark.parametrize("pooling", ["attention", "concat"])
def test_words_of_any_characters_are_read_as_the_cpu_reads_them(pooling: Pooling, tmp_path: Path) -> None:
    small = Small("classify", "lstm", bidirectional=True, ngrams=3, tables="int8", pooling=pooling)
    artifact = load(publish_small(tmp_path / "models", small, tmp_path / "scratch"))
    cuda, cpu = Runtime(artifact, "cuda"), Runtime(artifact, "cpu")
    texts = [artifact.encode(text) for text in ("고래 오늘 whale", "music", "상어 고래 " * 9)]
    together = cuda.classify_texts(texts)
    assert np.allclose(together, cpu.classify_texts(texts), atol=CLOSE)
    for row, text in zip(together, texts, strict=True):
        assert np.allclose(row, cuda.classify_texts([text])[0], atol=CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_stays_on_the_device_and_rows_come_and_go(cell: Cell, tmp_path: Path) -> None:
    cuda, cpu = runtimes(Small(cell=cell), tmp_path)
    assert np.allclose(_three_rounds(cuda), _three_rounds(cpu), atol=CLOSE)
    held = cuda.step(np.array([[3]]), np.ones(1, np.int32), cuda.initial_state(1))[1]
    assert cell == "rnn" or all(isinstance(part, ort.OrtValue) and part.device_name() == "cuda" for part in held)


def _three_rounds(runtime: Runtime) -> Array:
    """Two rows, one of which leaves while a third comes."""
    batch: Batch[str] = Batch(runtime)

    def fresh(_: str) -> State:
        return select(runtime.initial_state(1), [0])

    logits = []
    for rows in (["a", "b"], ["b", "c"], ["b", "c"]):
        batch.arrange(rows, fresh)
        words = np.array([3 + "abc".index(row) for row in batch.rows])
        stepped = batch.step(words, np.arange(len(rows)))
        logits.append(stepped[np.argsort(batch.rows)])
    whole: Array = np.concatenate(logits)
    return whole
