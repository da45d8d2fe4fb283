"""A trained model as one self-contained ONNX graph: which inputs and outputs it has, and what stands between them."""

from dataclasses import dataclass

from service.artifact import StateTensor, Tensor
from training.embedding import WordEmbedding
from training.graph import STATE, GraphBuilder
from training.model import Classifier, LanguageModel
from training.pooling import pool


@dataclass(frozen=True)
class Exported:
    """A graph, and what the manifest says of its tensors."""

    graph: bytes
    inputs: list[Tensor]
    outputs: list[Tensor]
    state: list[StateTensor]


def export_language_model(model: LanguageModel) -> Exported:
    """ids (B, T), lengths (B), state, wanted (K) -> logits (K, V) of the word after the last of each wanted row, state.

    The rows are chosen before the output layer, by far the dearest: who only reads a prompt does not pay for it.
    """
    cell = model.recurrent.cell
    vocabulary = model.embedding.num_embeddings
    state_shape: list[int | str] = [len(model.recurrent.layers), "batch", model.recurrent.hidden]
    state = [StateTensor(input=f"{part}_in", output=f"{part}_out") for part in STATE[cell]]
    wanted = Tensor(name="wanted", dtype="int64", shape=["wanted_rows"])
    inputs = [*_id_inputs(), *(Tensor(name=s.input, dtype="float32", shape=state_shape) for s in state), wanted]
    outputs = [
        Tensor(name="logits", dtype="float32", shape=["wanted_rows", vocabulary]),
        *(Tensor(name=s.output, dtype="float32", shape=state_shape) for s in state),
    ]
    graph = GraphBuilder()
    embedding = graph.table("embedding", model.embedding.weight, model.tables)
    words = graph.look_up(embedding, graph.time_first("ids"))
    steps = graph.recurrent(model.recurrent, words, "lengths", [s.input for s in state])
    (last,) = graph.add("Gather", steps.last, wanted.name)
    if model.projection is not None:
        last = graph.linear(last, "projection", model.projection.weight, None)
    tied = model.output.weight is model.embedding.weight
    logits = graph.linear(last, "output", graph.whole(embedding) if tied else model.output.weight, model.output.bias)
    return Exported(graph.finish(inputs, outputs, [logits, *steps.state]), inputs, outputs, state)


def export_classifier(model: Classifier, labels: int) -> Exported:
    """ids (B, T), lengths (B) -> logits (B, C). With n-grams also grams (U, slots), U >= 1, whose rows ids from V on mean."""
    inputs, outputs = _id_inputs(), [Tensor(name="logits", dtype="float32", shape=["batch", labels])]
    if model.embedding.known is not None:
        inputs.append(Tensor(name="grams", dtype="int64", shape=["unknown", model.embedding.known.shape[1]]))
    graph = GraphBuilder()
    steps = graph.recurrent(model.recurrent, _words(graph, model), "lengths")
    attention = None if model.attention is None else model.attention.weight
    pooled = pool(graph, model.pooling, steps, "lengths", model.recurrent.width, attention)
    logits = graph.linear(pooled, "output", model.output.weight, model.output.bias)
    if model.head == "sigmoid":
        (none,) = graph.add("Sub", logits, logits)
        (logits,) = graph.add("Concat", none, logits, axis=1)
    return Exported(graph.finish(inputs, outputs, [logits]), inputs, outputs, [])


def _words(graph: GraphBuilder, model: Classifier) -> str:
    """The vectors (T, B, E) of ids. What a known word's n-grams come to is in its row already: it costs one look-up."""
    embedding: WordEmbedding = model.embedding
    known = graph.table("embedding", embedding.table(), model.tables)
    ids = graph.time_first("ids")
    if embedding.grams is None:
        return graph.look_up(known, ids)
    words = embedding.words.weight
    grams = graph.table("grams_table", embedding.grams.weight, model.tables)
    means = graph.mean_of_rows(grams, "grams", words.shape[1])
    (unknown,) = graph.add("Add", means, graph.weight("unknown", words[embedding.unknown_id]))
    return graph.known_or_not(ids, known, len(words), unknown)


def _id_inputs() -> list[Tensor]:
    return [Tensor(name="ids", dtype="int64", shape=["batch", "time"]), Tensor(name="lengths", dtype="int32", shape=["batch"])]
