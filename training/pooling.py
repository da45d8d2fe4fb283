"""How a text's steps become one vector, as nodes of a graph. Each counts real words only, whatever padding stands behind them."""

import numpy as np
import torch
from onnx import TensorProto

from service.artifact import Pooling
from training.graph import GraphBuilder, Steps


def pool(
    graph: GraphBuilder, pooling: Pooling, steps: Steps, lengths: str, width: int, attention: torch.Tensor | None = None
) -> str:
    """Steps of outputs (T, B, width) -> (B, width), or (B, 3 * width) for concat. attention: its weights (1, width)."""
    if pooling == "last":
        return steps.last
    real = _real_steps(graph, steps.outputs, lengths)
    if pooling == "max":
        return _largest(graph, steps.outputs, real, keep_time=False)
    if pooling == "mean":
        return _mean(graph, steps.outputs, real, width)
    if pooling == "concat":
        parts = [steps.last, _largest(graph, steps.outputs, real, keep_time=False), _mean(graph, steps.outputs, real, width)]
        return graph.add("Concat", *parts, axis=1)[0]
    assert attention is not None
    return _attention(graph, steps.outputs, real, width, attention)


def _attention(graph: GraphBuilder, outputs: str, real: str, width: int, weights: torch.Tensor) -> str:
    """The mean of the steps, each counting exp(its score - the highest one). A bias would change no share, so there is none."""
    (scores,) = graph.add("MatMul", outputs, graph.weight("attention", weights.detach().T))  # (T, B, 1)
    highest = _largest(graph, scores, real, keep_time=True)
    (shares,) = graph.add("Exp", *graph.add("Sub", _only(graph, real, scores, -np.inf), highest))
    (weighted,) = graph.add("Mul", _only(graph, real, outputs, 0), shares)
    return graph.mean(weighted, shares, width)


def _mean(graph: GraphBuilder, outputs: str, real: str, width: int) -> str:
    (weights,) = graph.add("Cast", real, to=TensorProto.FLOAT)
    return graph.mean(_only(graph, real, outputs, 0), weights, width)


def _largest(graph: GraphBuilder, values: str, real: str, keep_time: bool) -> str:
    """(T, B, N) -> (B, N), or (1, B, N)"""
    return graph.add("ReduceMax", _only(graph, real, values, -np.inf), graph.integers(0), keepdims=int(keep_time))[0]


def _only(graph: GraphBuilder, real: str, values: str, otherwise: float) -> str:
    return graph.add("Where", real, values, graph.number(otherwise))[0]


def _real_steps(graph: GraphBuilder, outputs: str, lengths: str) -> str:
    """(T, B, 1): whether a step is within its row's length."""
    (time,) = graph.add("Shape", outputs, start=0, end=1)
    scalar = graph.add("Squeeze", time, graph.integers(0))[0]
    (steps,) = graph.add("Range", graph.integer(0), scalar, graph.integer(1))
    column = graph.add("Unsqueeze", steps, graph.integers(1))[0]
    (wide,) = graph.add("Cast", lengths, to=TensorProto.INT64)
    return graph.add("Unsqueeze", *graph.add("Less", column, wide), graph.integers(2))[0]
