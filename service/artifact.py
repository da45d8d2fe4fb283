"""CONTRACT between training and serving: the folder of a published model, `models/<name>/<version>/`.

Owns what makes a folder whole: schema version, hashes, vocabulary. Does not run the graph: whether it takes and gives what the
manifest says, and gives the golden answers, is checked by service.inference.runtime.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from service.errors import ArtifactError

# Who makes or reads a model finds all of the contract here.
from service.manifest import GRAPH as GRAPH
from service.manifest import MAX_INPUT_WORDS as MAX_INPUT_WORDS
from service.manifest import NAME_PATTERN as NAME_PATTERN
from service.manifest import SCHEMA_VERSION as SCHEMA_VERSION
from service.manifest import TOKENIZER as TOKENIZER
from service.manifest import Cell as Cell
from service.manifest import Golden as Golden
from service.manifest import Limits as Limits
from service.manifest import Manifest as Manifest
from service.manifest import Ngrams as Ngrams
from service.manifest import Pooling as Pooling
from service.manifest import Score as Score
from service.manifest import Sizes as Sizes
from service.manifest import SpecialIds as SpecialIds
from service.manifest import StateTensor as StateTensor
from service.manifest import Tables as Tables
from service.manifest import Task as Task
from service.manifest import Tensor as Tensor
from service.manifest import Training as Training
from service.manifest import Unit as Unit
from service.text import Tokenizer
from service.words import Reader, Words

MANIFEST = "manifest.json"
CARD = "README.md"
CURVES = "curves.png"

VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,8}")

# What training stamps. A manifest that says more is refused; a graph that is newer than it says, by onnxruntime itself.
MAX_OPSET = 21
MAX_IR_VERSION = 10
MAX_FILE_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published model that was read whole: what follows works on these bytes, never on the folder again."""

    path: Path
    manifest: Manifest
    tokenizer: Tokenizer
    graph: bytes
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Reader(self.tokenizer, self.manifest.ngrams))

    def encode(self, text: str) -> Words:
        """A text as the graph of a model that classifies takes it."""
        return self.reader.read(text)


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


def skipped(models: Path) -> Iterator[str]:
    """A line for every folder that looks like a model's and that versions leaves out. Those that are hidden are meant to be."""
    for folder in _visible(models):
        published = [version for version in _visible(folder) if _has_manifest(version)]
        if not re.fullmatch(NAME_PATTERN, folder.name):
            if published or _has_manifest(folder):
                yield f"{folder.name}: a name has the letters a to z, digits and ._-, 64 at most, and none of ._- first"
            continue
        if _has_manifest(folder):
            yield f"{folder.name}: {MANIFEST} belongs into a folder of its version, such as {folder.name}/1"
        for version in published:
            if not VERSION_PATTERN.fullmatch(version.name):
                yield f"{folder.name}/{version.name}: a version is a whole number, from 1 on and without zeros before it"


def _visible(folder: Path) -> list[Path]:
    """The folders in it; none where nobody may look into it."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).is_file()
    except OSError:
        return False


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
    reader = Reader(tokenizer, manifest.ngrams)
    for golden in manifest.golden:
        ids = tokenizer.encode_prompt(golden.text).ids if manifest.task == "generate" else reader.read(golden.text).ids
        if ids != golden.ids:
            raise ArtifactError(f"{where}: the tokenizer reads {golden.text!r} differently from when the model was made")
