"""CONTRACT between training and serving: the folder of a published model, `models/<name>/<version>/`.

Owns the manifest, and what makes a folder whole: schema version, hashes, vocabulary. Does not run the graph: whether it takes
and gives what the manifest says, and gives the golden answers, is checked by service.inference.runtime.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.errors import ArtifactError
from service.text import Tokenizer

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
CARD = "README.md"
CURVES = "curves.png"

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,8}")

# What training stamps. A manifest that says more is refused; a graph that is newer than it says, by onnxruntime itself.
MAX_OPSET = 21
MAX_IR_VERSION = 10
MAX_FILE_BYTES = 2**31

Task = Literal["generate", "classify"]
Cell = Literal["rnn", "gru", "lstm"]
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


class SpecialIds(_Frozen):
    padding: int
    unknown: int
    end: int | None


class Limits(_Frozen):
    """Words a request may bring to this model."""

    max_input_words: Positive


class Score(_Frozen):
    """A figure on data that training never saw, beside the same figure of a simple baseline."""

    metric: str
    split: Literal["valid", "test", "train"]
    value: float
    baseline: str | None = None
    baseline_value: float | None = None


class Golden(_Frozen):
    """A text with the ids it must encode to, and the logits that the graph must give at some outputs."""

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

    schema_version: Literal[2]
    name: str = Field(pattern=NAME_PATTERN)
    version: Positive
    task: Task
    description: str
    cell: Cell
    layers: Positive
    directions: Literal[1, 2]
    pooling: Literal["last", "mean", "max"] | None
    sizes: Sizes
    precision: Literal["float32"]
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
        if any(len(golden.outputs) != len(golden.logits) or max(golden.outputs) >= width for golden in self.golden):
            raise ValueError("golden: outputs and logits are not of the same number, or beyond the graph's")
        return self

    @property
    def identity(self) -> bytes:
        """16 bytes that stand for the weights and the vocabulary: what a state was computed with, whatever the folder's name."""
        return hashlib.sha256("".join(self.files[name] for name in (GRAPH, TOKENIZER)).encode()).digest()[:16]

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's state."""
        return len(self.state) * self.layers * self.sizes.hidden * 4


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published model that was read whole: what follows works on these bytes, never on the folder again."""

    path: Path
    manifest: Manifest
    tokenizer: Tokenizer
    graph: bytes


def versions(models: Path) -> Iterator[tuple[str, list[Path]]]:
    """Every model name with the folders of its versions, the highest first. Half-published folders have no whole number."""
    for folder in sorted(models.iterdir()):
        if not folder.is_dir() or not re.fullmatch(NAME_PATTERN, folder.name):
            continue
        try:
            found = [p for p in folder.iterdir() if p.is_dir() and VERSION_PATTERN.fullmatch(p.name)]
        except OSError:
            found = []  # a folder that nobody may look into holds nothing that could serve
        yield folder.name, sorted(found, key=lambda p: int(p.name), reverse=True)


def load(path: Path) -> Artifact:
    """Reads and verifies one version's folder. Raises ArtifactError with one line that names the folder and the fault."""
    where = f"{path.parent.name}/{path.name}"
    manifest = _read_manifest(path, where)
    if (manifest.name, str(manifest.version)) != (path.parent.name, path.name):
        raise ArtifactError(f"{where}: its manifest is that of {manifest.name}/{manifest.version}")
    if manifest.opset > MAX_OPSET or manifest.ir_version > MAX_IR_VERSION:
        raise ArtifactError(
            f"{where}: made for opset {manifest.opset} and IR version {manifest.ir_version}, "
            f"newer than the {MAX_OPSET} and {MAX_IR_VERSION} that this service loads"
        )
    contents = _read_files(path, where, manifest)
    try:
        tokenizer = Tokenizer.from_json(contents[TOKENIZER].decode())
    except ValueError as error:
        raise ArtifactError(f"{where}: {error}") from error
    _check_vocabulary(where, manifest, tokenizer)
    return Artifact(path, manifest, tokenizer, contents[GRAPH])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_manifest(path: Path, where: str) -> Manifest:
    try:
        content = _read(path / MANIFEST)
        raw = json.loads(content)
        found = raw.get("schema_version") if isinstance(raw, dict) else None
        if found != SCHEMA_VERSION:
            raise ArtifactError(f"{where}: {MANIFEST} has schema version {found}, this service reads {SCHEMA_VERSION}")
        return Manifest.model_validate_json(content)
    except FileNotFoundError as error:
        raise ArtifactError(f"{where}: {MANIFEST} is missing") from error
    except OSError as error:
        raise ArtifactError(f"{where}: {MANIFEST} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ArtifactError(f"{where}: {MANIFEST}: {field}{': ' if field else ''}{message}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: {MANIFEST} is not JSON: {error}") from error


def _read_files(path: Path, where: str, manifest: Manifest) -> dict[str, bytes]:
    """The listed files' bytes, each compared with its hash: what was checked is what is served."""
    contents = {}
    for name in {GRAPH, TOKENIZER} - manifest.files.keys():
        raise ArtifactError(f"{where}: {MANIFEST} lists no {name}")
    for name, expected in manifest.files.items():
        if Path(name).name != name or "\0" in name:
            raise ArtifactError(f"{where}: {MANIFEST} lists {name!r}, which is no plain file name")
        try:
            contents[name] = _read(path / name)
        except OSError as error:
            raise ArtifactError(f"{where}: {name} cannot be read: {error.strerror or error}") from error
        if sha256(contents[name]) != expected:
            raise ArtifactError(f"{where}: {name} is damaged: its SHA-256 is not the manifest's")
    return contents


def _read(path: Path) -> bytes:
    """The bytes of a plain file of bearable size: a pipe would keep the start waiting, a giant would take all memory."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no plain file")
    if status.st_size > MAX_FILE_BYTES:
        raise OSError(f"it has more than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()


def _check_vocabulary(where: str, manifest: Manifest, tokenizer: Tokenizer) -> None:
    if tokenizer.vocabulary_size != manifest.sizes.vocabulary:
        raise ArtifactError(
            f"{where}: the tokenizer has {tokenizer.vocabulary_size} words, the manifest says {manifest.sizes.vocabulary}"
        )
    found = SpecialIds(padding=tokenizer.padding_id, unknown=tokenizer.unknown_id, end=tokenizer.end_id)
    if found != manifest.special_ids:
        raise ArtifactError(f"{where}: the tokenizer's special ids are {found}, the manifest says {manifest.special_ids}")
    for golden in manifest.golden:
        encode = tokenizer.encode_prompt if manifest.task == "generate" else tokenizer.encode
        if encode(golden.text).ids != golden.ids:
            raise ArtifactError(f"{where}: the tokenizer reads {golden.text!r} differently from when the model was made")
