"""A trained model as one self-contained ONNX graph, written node by node. Owns the order of gates and the layout of state.

onnx's own RNN, GRU and LSTM operators take the lengths of the rows, so right padding is exact; tracing torch cannot say that.
The graph works time first, (T, B, ...), as the operators do; ids come in as (B, T).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from service.artifact import MAX_IR_VERSION, MAX_OPSET, Cell, StateTensor, Tensor
from training.model import Classifier, LanguageModel, Recurrent

# Blocks of rows in torch's weights, in the order in which onnx wants them.
_GATES: dict[Cell, list[int]] = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}  # torch: -, r z n, i f g o
_STATE: dict[Cell, list[str]] = {"rnn": ["h"], "gru": ["h"], "lstm": ["h", "c"]}
_ELEMENTS = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


@dataclass(frozen=True)
class Exported:
    """A graph, and what the manifest says of its tensors."""

    graph: bytes
    inputs: list[Tensor]
    outputs: list[Tensor]
    state: list[StateTensor]


@dataclass(frozen=True)
class Steps:
    """Names of what a stack of recurrent layers gives: outputs (T, B, W), last (B, W), and state, each (layers, B, H)."""

    outputs: str
    last: str
    state: list[str]


class GraphBuilder:
    """Nodes and weights of one graph. Every method adds nodes and returns the name of their result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """One node; the names of its outputs."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def weight(self, name: str, values: torch.Tensor | npt.NDArray[np.generic]) -> str:
        array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        return self.weight(f"integers_{len(self.weights)}", np.asarray(values, np.int64))

    def embed(self, ids: str, embedding: torch.nn.Embedding) -> str:
        """ids (B, T) -> (T, B, E)"""
        (time_first,) = self.add("Transpose", ids, perm=[1, 0])
        return self.add("Gather", self.weight("embedding", embedding.weight), time_first)[0]

    def recurrent(self, module: Recurrent, inputs: str, lengths: str, state: Sequence[str] = ()) -> Steps:
        """inputs (T, B, I) -> Steps. state: each (layers, B, H), of one direction; none: zeros."""
        count = len(module.layers)
        before = [self._split(part, count) for part in state]
        last, after = "", []
        for index, directions in enumerate(module.layers):
            weights = [
                self.weight(f"{n}_{index}", w)
                for n, w in zip("WRB", _gates(module.cell, cast(nn.ModuleList, directions)), strict=True)
            ]
            ends = [part[index] for part in before]
            steps, *reached = self._operator(module, inputs, weights, lengths, ends)
            inputs, last = self._merge(steps, 1, module.directions), self._merge(reached[0], 0, module.directions)
            after.append(reached)
        return Steps(inputs, last, [self._concat(parts) for parts in zip(*after, strict=True)])

    def pool(self, pooling: str, steps: Steps, lengths: str) -> str:
        """(T, B, W) -> (B, W), over real words only."""
        if pooling == "last":
            return steps.last
        real = self._real_steps(steps.outputs, lengths)
        if pooling == "max":
            nothing = self.weight("lowest", np.asarray(-np.inf, np.float32))
            return self.add("ReduceMax", *self.add("Where", real, steps.outputs, nothing), self.integers(0), keepdims=0)[0]
        nothing = self.weight("zero", np.asarray(0, np.float32))
        (total,) = self.add("ReduceSum", *self.add("Where", real, steps.outputs, nothing), self.integers(0), keepdims=0)
        (words,) = self.add("Cast", *self.add("Unsqueeze", lengths, self.integers(1)), to=TensorProto.FLOAT)
        return self.add("Div", total, words)[0]

    def linear(self, inputs: str, name: str, weight: torch.Tensor | str, bias: torch.Tensor | None) -> str:
        """(B, I) -> (B, O). weight: (O, I), or the name of one that the graph has already."""
        weight = weight if isinstance(weight, str) else self.weight(f"{name}_weight", weight)
        biases = [] if bias is None else [self.weight(f"{name}_bias", bias)]
        return self.add("Gemm", inputs, weight, *biases, transB=1)[0]

    def finish(self, inputs: list[Tensor], outputs: list[Tensor], results: Sequence[str]) -> bytes:
        """The checked graph; results are the names that become outputs, in order."""
        for result, tensor in zip(results, outputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [result], [tensor.name]))
        graph = helper.make_graph(self.nodes, "seqserve", _values(inputs), _values(outputs), self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", MAX_OPSET)], ir_version=MAX_IR_VERSION, producer_name="seqserve"
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def _operator(self, module: Recurrent, inputs: str, weights: list[str], lengths: str, ends: list[str]) -> list[str]:
        extra = {"linear_before_reset": 1} if module.cell == "gru" else {}  # as torch: the hidden bias is inside the reset
        direction = "bidirectional" if module.directions == 2 else "forward"
        return self.add(
            module.cell.upper(),
            *(inputs, *weights, lengths, *ends),
            outputs=1 + len(_STATE[module.cell]),
            hidden_size=module.hidden,
            direction=direction,
            **extra,
        )

    def _merge(self, name: str, axis: int, directions: int) -> str:
        """Folds the axis of directions into the last one: (T, D, B, H) -> (T, B, D*H), or (D, B, H) -> (B, D*H)."""
        if directions == 1:
            return self.add("Squeeze", name, self.integers(axis))[0]
        (beside,) = self.add("Transpose", name, perm=[0, 2, 1, 3] if axis else [1, 0, 2])
        return self.add("Reshape", beside, self.integers(*([0] * (axis + 1)), -1))[0]

    def _real_steps(self, outputs: str, lengths: str) -> str:
        """(T, B, 1): whether a step is within its row's length."""
        (time,) = self.add("Shape", outputs, start=0, end=1)
        scalar = self.add("Squeeze", time, self.integers(0))[0]
        zero, one = (self.weight(f"range_{n}_{len(self.weights)}", np.asarray(n, np.int64)) for n in (0, 1))
        (steps,) = self.add("Range", zero, scalar, one)
        column = self.add("Unsqueeze", steps, self.integers(1))[0]
        (wide,) = self.add("Cast", lengths, to=TensorProto.INT64)
        return self.add("Unsqueeze", *self.add("Less", column, wide), self.integers(2))[0]

    def _split(self, name: str, count: int) -> list[str]:
        return [name] if count == 1 else self.add("Split", name, outputs=count, axis=0, num_outputs=count)

    def _concat(self, names: Sequence[str]) -> str:
        return names[0] if len(names) == 1 else self.add("Concat", *names, axis=0)[0]


def export_language_model(model: LanguageModel) -> Exported:
    """ids (B, T), lengths (B), state, wanted (K) -> logits (K, V) of the word after the last of each wanted row, state.

    The rows are chosen before the output layer, by far the dearest: who only reads a prompt does not pay for it.
    """
    cell = model.recurrent.cell
    vocabulary = model.embedding.num_embeddings
    state_shape: list[int | str] = [len(model.recurrent.layers), "batch", model.recurrent.hidden]
    state = [StateTensor(input=f"{part}_in", output=f"{part}_out") for part in _STATE[cell]]
    wanted = Tensor(name="wanted", dtype="int64", shape=["wanted_rows"])
    inputs = [*_id_inputs(), *(Tensor(name=s.input, dtype="float32", shape=state_shape) for s in state), wanted]
    outputs = [
        Tensor(name="logits", dtype="float32", shape=["wanted_rows", vocabulary]),
        *(Tensor(name=s.output, dtype="float32", shape=state_shape) for s in state),
    ]
    graph = GraphBuilder()
    steps = graph.recurrent(model.recurrent, graph.embed("ids", model.embedding), "lengths", [s.input for s in state])
    (last,) = graph.add("Gather", steps.last, wanted.name)
    if model.projection is not None:
        last = graph.linear(last, "projection", model.projection.weight, None)
    tied = model.output.weight is model.embedding.weight
    logits = graph.linear(last, "output", "embedding" if tied else model.output.weight, model.output.bias)
    return Exported(graph.finish(inputs, outputs, [logits, *steps.state]), inputs, outputs, state)


def export_classifier(model: Classifier, labels: int) -> Exported:
    """ids (B, T), lengths (B) -> logits (B, C)."""
    inputs, outputs = _id_inputs(), [Tensor(name="logits", dtype="float32", shape=["batch", labels])]
    graph = GraphBuilder()
    steps = graph.recurrent(model.recurrent, graph.embed("ids", model.embedding), "lengths")
    logits = graph.linear(graph.pool(model.pooling, steps, "lengths"), "output", model.output.weight, model.output.bias)
    if model.head == "sigmoid":
        (none,) = graph.add("Sub", logits, logits)
        (logits,) = graph.add("Concat", none, logits, axis=1)
    return Exported(graph.finish(inputs, outputs, [logits]), inputs, outputs, [])


def _id_inputs() -> list[Tensor]:
    return [Tensor(name="ids", dtype="int64", shape=["batch", "time"]), Tensor(name="lengths", dtype="int32", shape=["batch"])]


def _values(tensors: list[Tensor]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(t.name, _ELEMENTS[t.dtype], t.shape) for t in tensors]


def _gates(cell: Cell, directions: Iterable[nn.Module]) -> list[npt.NDArray[np.float32]]:
    """W (D, G*H, I), R (D, G*H, H) and both biases in one, B (D, 2*G*H), of one layer."""
    stacked: list[list[npt.NDArray[np.float32]]] = [[], [], []]
    for layer in directions:
        w, r, bw, br = (
            _reorder(cell, getattr(layer, name).detach().numpy())
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        )
        for parts, part in zip(stacked, (w, r, np.concatenate([bw, br])), strict=True):
            parts.append(part)
    return [np.stack(parts) for parts in stacked]


def _reorder(cell: Cell, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    blocks = np.split(rows, len(_GATES[cell]))
    return np.concatenate([blocks[gate] for gate in _GATES[cell]])
