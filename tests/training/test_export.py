"""training.export: the graph is torch's model, for every cell, depth, direction, pooling and head."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from service.artifact import MAX_IR_VERSION, MAX_OPSET, Artifact, Cell, Pooling, Tables
from service.inference.runtime import Runtime, host, pad, unstack
from tests.builders import BUCKETS, Small, open_small
from training.model import LanguageModel, Model
from training.parity import TOLERANCE, check_parity

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
POOLINGS: tuple[Pooling, ...] = ("last", "mean", "max", "attention", "concat")
TABLES: tuple[Tables, ...] = ("float32", "int8")
VARIANTS = [
    *(Small(cell=cell, layers=layers, tied=tied) for cell in CELLS for layers, tied in ((1, True), (2, True), (3, False))),
    *(Small("classify", cell, bidirectional=both, pooling=p) for cell in CELLS for both in (False, True) for p in POOLINGS),
    *(
        Small("classify", cell, bidirectional=True, pooling=p, ngrams=3, tables=tables)
        for cell, p in zip(CELLS, POOLINGS[2:], strict=True)
        for tables in TABLES
    ),
    *(Small(cell=cell, tied=tied, tables="int8") for cell in CELLS for tied in (True, False)),
    Small("classify", "lstm", tables="int8"),
    Small("classify", "lstm", unit="char"),
    Small(cell="lstm", unit="char"),
    Small("classify", "gru", ngrams=1, embedding=1, hidden=1, pooling="attention"),
    Small("classify", "lstm", layers=3, bidirectional=True),
    Small("classify", "rnn", head="sigmoid", pooling="last"),
    Small(cell="gru", embedding=16, hidden=16),
]


def name(small: Small) -> str:
    return "-".join([small.name, small.pooling, small.head, "tied" if small.tied else "untied", str(small.hidden)])


def language_model(model: Model) -> LanguageModel:
    assert isinstance(model, LanguageModel)
    return model


def stored(artifact: Artifact) -> dict[str, tuple[int, list[int]]]:
    """Element type and shape of every weight of a graph, by its name."""
    return {
        weight.name: (weight.data_type, list(weight.dims)) for weight in onnx.load_from_string(artifact.graph).graph.initializer
    }


@pytest.mark.parametrize("small", VARIANTS, ids=name)
def test_the_graph_answers_as_torch_over_many_batch_sizes_and_lengths(small: Small, tmp_path: Path) -> None:
    _, runtime, model = open_small(small, tmp_path)
    assert check_parity(model, runtime) <= TOLERANCE


@pytest.mark.parametrize("small", VARIANTS[:2], ids=name)
def test_the_graph_is_stamped_with_what_the_service_loads_and_names_no_other_file(small: Small, tmp_path: Path) -> None:
    artifact, _, _ = open_small(small, tmp_path)
    graph = onnx.load_from_string(artifact.graph)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", MAX_OPSET)]
    assert graph.ir_version == MAX_IR_VERSION
    assert all(not weight.external_data for weight in graph.graph.initializer)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_a_language_model_answers_the_wanted_rows_and_computes_no_others(cell: Cell, tied: bool, tmp_path: Path) -> None:
    artifact, runtime, model = open_small(Small(cell=cell, tied=tied), tmp_path)
    shapes = {tensor.name: (tensor.dtype, tensor.shape) for tensor in (*artifact.manifest.inputs, *artifact.manifest.outputs)}
    assert shapes["wanted"] == ("int64", ["wanted_rows"])
    assert shapes["logits"] == ("float32", ["wanted_rows", artifact.manifest.sizes.vocabulary])
    texts, wanted = [[3, 4, 5, 6], [7], [8, 9]], [2, 0, 0]
    logits, _ = runtime.step(*pad(texts, 0), runtime.initial_state(3), np.array(wanted, np.int64))
    for row, text in zip(logits, (texts[index] for index in wanted), strict=True):
        with torch.no_grad():
            expected = language_model(model).logits(torch.tensor([text]), torch.tensor([len(text)]))[0][0, -1]
            np.testing.assert_allclose(row, expected.numpy(), atol=1e-4)
    # Every product with a weight as wide as the vocabulary comes after the rows were chosen.
    graph = onnx.load_from_string(artifact.graph).graph
    chosen = next(index for index, node in enumerate(graph.node) if "wanted" in node.input)
    widest = [
        index for index, node in enumerate(graph.node) if node.op_type in ("MatMul", "Gemm") and "logits" in _reached(graph, node)
    ]
    assert widest
    assert min(widest) > chosen


def _reached(graph: onnx.GraphProto, start: onnx.NodeProto) -> set[str]:
    """The names of all values that are computed from what a node gives, without passing another cell."""
    reached = set(start.output)
    for node in graph.node:
        if reached & set(node.input) and node.op_type not in ("RNN", "GRU", "LSTM"):
            reached |= set(node.output)
    return reached


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_the_state_is_that_of_torch(cell: Cell, layers: int, tmp_path: Path) -> None:
    _, runtime, model = open_small(Small(cell=cell, layers=layers), tmp_path)
    texts = [[3, 4, 5, 6], [7], [8, 9]]
    _, state = runtime.step(*pad(texts, 0), runtime.initial_state(3))
    for text, row in zip(texts, unstack(host(state)), strict=True):
        with torch.no_grad():
            _, expected = language_model(model).logits(torch.tensor([text]), torch.tensor([len(text)]))
        for part, wanted in zip(row, expected, strict=True):
            np.testing.assert_allclose(part, wanted.numpy(), atol=1e-5)


def test_a_tied_output_is_stored_once(tmp_path: Path) -> None:
    artifact, _, _ = open_small(Small(tied=True), tmp_path)
    shapes = [shape for _, shape in stored(artifact).values()]
    assert shapes.count([artifact.manifest.sizes.vocabulary, artifact.manifest.sizes.embedding]) == 1


@pytest.mark.parametrize("small", [Small(tables="int8"), Small("classify", ngrams=3, tables="int8")], ids=lambda small: small.name)
def test_tables_of_8_bits_are_stored_as_such_and_nowhere_else(small: Small, tmp_path: Path) -> None:
    artifact, _, _ = open_small(small, tmp_path)
    weights, sizes = stored(artifact), artifact.manifest.sizes
    tables = {"embedding": sizes.vocabulary} | ({} if artifact.manifest.ngrams is None else {"grams_table": BUCKETS + 1})
    for name, rows in tables.items():
        assert weights[name] == (TensorProto.INT8, [rows, sizes.embedding])
        assert weights[f"{name}_scales"] == (TensorProto.FLOAT, [rows, 1])
    wide = [[rows, sizes.embedding] for rows in tables.values()]
    assert [name for name, (kind, shape) in weights.items() if kind == TensorProto.FLOAT and shape in wide] == []


def test_a_table_of_8_bits_takes_a_quarter_of_the_room(tmp_path: Path) -> None:
    words = tuple(f"w{number}" for number in range(2000))
    sizes = [
        len(open_small(Small(embedding=64, tables=tables, words=words), tmp_path / tables)[0].graph) - 64 * 64 for tables in TABLES
    ]
    assert sizes[1] < 0.35 * sizes[0]


def test_a_known_word_costs_no_look_up_of_its_characters(tmp_path: Path) -> None:
    """They are in its row: only rows that are brought along go to the table of runs."""
    artifact, _, _ = open_small(Small("classify", ngrams=3), tmp_path)
    graph = onnx.load_from_string(artifact.graph).graph
    (start,) = (node for node in graph.node if "grams_table" in node.input)
    assert {tensor.name: tensor.shape for tensor in artifact.manifest.inputs}["grams"] == ["unknown", 24]
    assert _sources(graph, start) == {"grams"}


def _sources(graph: onnx.GraphProto, end: onnx.NodeProto) -> set[str]:
    """The inputs of the graph from which a node computes."""
    sources, made_by = set[str](), {name: node for node in graph.node for name in node.output}
    waiting = list(end.input)
    while waiting:
        name = waiting.pop()
        if name in made_by:
            waiting += made_by[name].input
        else:
            sources |= {name} & {tensor.name for tensor in graph.input}
    return sources


@pytest.fixture(scope="module", params=CELLS)
def generating(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runtime, Model]:
    _, runtime, model = open_small(Small(cell=request.param), tmp_path_factory.mktemp("generating"))
    return runtime, model


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reading_in_any_chunks_gives_the_bits_of_reading_at_once(generating: tuple[Runtime, Model], data: st.DataObject) -> None:
    runtime, _ = generating
    ids = data.draw(st.lists(st.integers(1, runtime.manifest.sizes.vocabulary - 1), min_size=2, max_size=20))
    cut = data.draw(st.integers(1, len(ids) - 1))
    whole, end = runtime.step(*pad([ids], 0), runtime.initial_state(1))
    _, middle = runtime.step(*pad([ids[:cut]], 0), runtime.initial_state(1))
    rest, other_end = runtime.step(*pad([ids[cut:]], 0), middle)
    assert np.array_equal(whole, rest)
    assert all(np.array_equal(one, other) for one, other in zip(host(end), host(other_end), strict=True))
