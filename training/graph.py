"""An ONNX graph written node by node: tables of words, recurrent layers, means. Owns the order of gates and the layout of state.

onnx's own RNN, GRU and LSTM operators take the lengths of the rows, so right padding is exact; tracing torch cannot say that.
The graph works time first, (T, B, ...), as the operators do. Knows no model: training.export puts one together.
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

from service.artifact import MAX_IR_VERSION, MAX_OPSET, Cell, Tables, Tensor
from training.recurrent import Recurrent
from training.tables import quantise

# Blocks of rows in torch's weights, in the order in which onnx wants them.
_GATES: dict[Cell, list[int]] = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}  # torch: -, r z n, i f g o
STATE: dict[Cell, list[str]] = {"rnn": ["h"], "gru": ["h"], "lstm": ["h", "c"]}
_ELEMENTS = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


@dataclass(frozen=True)
class Steps:
    """Names of what a stack of recurrent layers gives: outputs (T, B, W), last (B, W), and state, each (layers, B, H)."""

    outputs: str
    last: str
    state: list[str]


@dataclass(frozen=True)
class Table:
    """Names of a table of vectors (N, E): as it is, or as 8-bit numbers with the scales (N, 1) of its rows."""

    rows: str
    scales: str | None = None


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

    def integer(self, value: int) -> str:
        return self.weight(f"integer_{len(self.weights)}", np.asarray(value, np.int64))

    def number(self, value: float) -> str:
        return self.weight(f"number_{len(self.weights)}", np.asarray(value, np.float32))

    def table(self, name: str, values: torch.Tensor, kind: Tables) -> Table:
        """values (N, E)"""
        if kind == "float32":
            return Table(self.weight(name, values))
        quantised, scales = quantise(values.detach())
        return Table(self.weight(name, quantised), self.weight(f"{name}_scales", scales))

    def look_up(self, table: Table, ids: str) -> str:
        """ids (...) -> (..., E)"""
        (rows,) = self.add("Gather", table.rows, ids)
        if table.scales is None:
            return rows
        return self._scaled(rows, *self.add("Gather", table.scales, ids))

    def whole(self, table: Table) -> str:
        """(N, E) as numbers; where it is 8-bit, onnxruntime does this once, as it loads the graph."""
        return table.rows if table.scales is None else self._scaled(table.rows, table.scales)

    def time_first(self, ids: str) -> str:
        """(B, T) -> (T, B)"""
        return self.add("Transpose", ids, perm=[1, 0])[0]

    def known_or_not(self, ids: str, table: Table, count: int, others: str) -> str:
        """ids (T, B) -> (T, B, E): a row of the table (count, E), or for an id from count on one of others (U, E)."""
        beyond = self.add("Sub", ids, self.integer(count))[0]
        known = self.look_up(table, *self.add("Min", ids, self.integer(count - 1)))
        (unknown,) = self.add("Gather", others, *self.add("Max", beyond, self.integer(0)))
        is_known = self.add("Unsqueeze", *self.add("Less", beyond, self.integer(0)), self.integers(2))[0]
        return self.add("Where", is_known, known, unknown)[0]

    def mean_of_rows(self, table: Table, places: str, width: int) -> str:
        """places (U, slots) -> (U, width): the mean of a table's rows there, but for row 0, which is zeros: none."""
        (slots,) = self.add("Transpose", places, perm=[1, 0])
        (filled,) = self.add("Cast", *self.add("Greater", slots, self.integer(0)), to=TensorProto.FLOAT)
        rows = self.look_up(table, slots)
        if width == 1:
            return self.mean(rows, self.add("Unsqueeze", filled, self.integers(2))[0], width)
        # As mean(), but cheaper: whole numbers add up to the same however they are grouped.
        (total,) = self.add("ReduceSum", rows, self.integers(0), keepdims=0)
        (count,) = self.add("Unsqueeze", *self.add("ReduceSum", filled, self.integers(0), keepdims=0), self.integers(1))
        return self.add("Div", total, *self.add("Max", count, self.number(1)))[0]

    def mean(self, values: str, weights: str, width: int) -> str:
        """values (N, M, width), each already times its weight, weights (N, M, 1) -> (M, width): the sums over N by each other.

        Where all weights are 0 it is 0; otherwise one of them must be 1. What is summed is the first axis, and more than one number
        wide: this onnxruntime adds row by row, so that a sum never depends on M, nor on rows of zeros behind N. Any other sum it
        groups by its sizes and by where it lies in memory.
        """
        (both,) = self.add("ReduceSum", *self.add("Concat", values, weights, axis=2), self.integers(0), keepdims=0)
        total, whole = self.add("Split", both, self.integers(width, 1), outputs=2, axis=1)
        return self.add("Div", total, *self.add("Max", whole, self.number(1)))[0]

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

    def _scaled(self, rows: str, scales: str) -> str:
        """One rounding a number, the same wherever it stands."""
        return self.add("Mul", *self.add("Cast", rows, to=TensorProto.FLOAT), scales)[0]

    def _operator(self, module: Recurrent, inputs: str, weights: list[str], lengths: str, ends: list[str]) -> list[str]:
        extra = {"linear_before_reset": 1} if module.cell == "gru" else {}  # as torch: the hidden bias is inside the reset
        direction = "bidirectional" if module.directions == 2 else "forward"
        return self.add(
            module.cell.upper(),
            *(inputs, *weights, lengths, *ends),
            outputs=1 + len(STATE[module.cell]),
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

    def _split(self, name: str, count: int) -> list[str]:
        return [name] if count == 1 else self.add("Split", name, outputs=count, axis=0, num_outputs=count)

    def _concat(self, names: Sequence[str]) -> str:
        return names[0] if len(names) == 1 else self.add("Concat", *names, axis=0)[0]


def _values(tensors: list[Tensor]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(t.name, _ELEMENTS[t.dtype], t.shape) for t in tensors]


def _gates(cell: Cell, directions: Iterable[nn.Module]) -> list[npt.NDArray[np.float32]]:
    """W (D, G*H, I), R (D, G*H, H) and both biases in one, B (D, 2*G*H), of one layer."""
    stacked: list[list[npt.NDArray[np.float32]]] = [[], [], []]
    for layer in directions:
        w, r, bw, br = (
            _reorder(cell, getattr(layer, name).detach().cpu().numpy())
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        )
        for parts, part in zip(stacked, (w, r, np.concatenate([bw, br])), strict=True):
            parts.append(part)
    return [np.stack(parts) for parts in stacked]


def _reorder(cell: Cell, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    blocks = np.split(rows, len(_GATES[cell]))
    return np.concatenate([blocks[gate] for gate in _GATES[cell]])
