"""CONTRACT between training and serving: what manifest.json says of a model, and that it agrees with itself. Knows no file."""

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 3
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"

MAX_INPUT_WORDS = 1024  # of a text, at the most: what scores are those of, and what training allows; a model itself has no limit
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Task = Literal["generate", "classify"]
Cell = Literal["rnn", "gru", "lstm"]
Unit = Literal["word", "subword", "char"]
Tables = Literal["float32", "int8"]
Pooling = Literal["last", "mean", "max", "attention", "concat"]
Positive = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tensor(_Frozen):
    """One input or output of the graph: a whole number is a fixed size, a word a free one."""

    name: str
    dtype: Literal["int64", "int32", "float32"]
    shape: list[Positive | str]


class StateTensor(_Frozen):
    """One part of the recurrent state; row i of the batch is `[:, i, :]`, (layers, B, hidden)."""

    input: str
    output: str


class Sizes(_Frozen):
    vocabulary: Positive
    embedding: Positive
    hidden: Positive
    parameters: Positive


class Ngrams(_Frozen):
    """Runs of a word's characters that stand for words the vocabulary lacks: up to longest characters, hashed to rows 1..buckets.

    Row 0 is for slots that a word does not fill; a word has as many slots as every other, so that sums never depend on batch-mates.
    """

    longest: Positive
    buckets: Positive
    slots: Positive


class SpecialIds(_Frozen):
    padding: int
    unknown: int
    end: int | None


class Limits(_Frozen):
    """Words a request may bring to this model."""

    max_input_words: Positive


class Score(_Frozen):
    """A figure on data that training never saw, beside the same figure of simple baselines."""

    metric: str
    split: Literal["valid", "test", "train"]
    value: float
    baselines: dict[str, float] = {}


class Golden(_Frozen):
    """A text with the ids it must encode to, and the logits that the graph must give at some outputs.

    A model with n-grams is given the vocabulary's size and more as the ids of words that it lacks: plus 0 for the first such
    word of the text, plus 1 for the next different one, and so on.
    """

    text: str
    ids: list[int] = Field(min_length=1)
    outputs: list[int] = Field(min_length=1)
    logits: list[float] = Field(min_length=1)


class Training(_Frozen):
    """How the model came to be, so that a person can make it again.

    source: where the preset's own data is to be had; data: the name and the rows of what was read.
    """

    preset: str
    command: str
    seed: int
    source: str
    data: str
    data_fingerprint: str
    epochs: int
    seconds: float
    packages: dict[str, str]
    created: str


class Manifest(_Frozen):
    """manifest.json. Nothing about a model is guessed from names, dates or the graph."""

    schema_version: Literal[3]
    name: str = Field(pattern=NAME_PATTERN)
    version: Positive
    task: Task
    description: str
    cell: Cell
    layers: Positive
    directions: Literal[1, 2]
    pooling: Pooling | None
    unit: Unit
    ngrams: Ngrams | None
    sizes: Sizes
    tables: Tables
    opset: Positive
    ir_version: Positive
    special_ids: SpecialIds
    labels: list[str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    state: list[StateTensor]
    limits: Limits
    golden: list[Golden] = Field(min_length=1)
    scores: list[Score]
    training: Training
    files: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        """What is said twice agrees."""
        generates = self.task == "generate"
        parts = (2 if self.cell == "lstm" else 1) if generates else 0
        logits = next((tensor.shape for tensor in self.outputs if tensor.name == "logits"), [])
        width = self.sizes.vocabulary if generates else len(self.labels)
        if len(self.state) != parts:
            raise ValueError(f"state: a model that {self.task}s with {self.cell} has {parts} tensors, not {len(self.state)}")
        rows = "wanted_rows" if generates else "batch"
        if logits != [rows, width]:
            raise ValueError(f"outputs: logits have the shape {logits}, not {[rows, width]}")
        if (self.pooling is None) != generates or bool(self.labels) == generates:
            raise ValueError("pooling and labels belong to a model that classifies, and to no other")
        self._check_ngrams()
        if any(len(golden.outputs) != len(golden.logits) or max(golden.outputs) >= width for golden in self.golden):
            raise ValueError("golden: outputs and logits are not of the same number, or beyond the graph's")
        return self

    def _check_ngrams(self) -> None:
        """The graph asks for rows of characters exactly where there are any."""
        if self.ngrams is not None and (self.task == "generate" or self.unit == "char"):
            raise ValueError("ngrams: belong to a model that classifies and reads words, and to no other")
        asked = [tensor.shape for tensor in self.inputs if tensor.name == "grams"]
        if asked != ([] if self.ngrams is None else [["unknown", self.ngrams.slots]]):
            raise ValueError(f"inputs: grams have the shapes {asked}, and ngrams are {self.ngrams or 'not there'}")

    @property
    def identity(self) -> bytes:
        """16 bytes that stand for the weights and the vocabulary: what a state was computed with, whatever the folder's name."""
        return hashlib.sha256("".join(self.files[name] for name in (GRAPH, TOKENIZER)).encode()).digest()[:16]

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's state."""
        return len(self.state) * self.layers * self.sizes.hidden * 4
