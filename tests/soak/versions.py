"""New versions of the shipped models in a folder of a scenario's own, published as training does: whole or not at all."""

import json
import os
import shutil
from pathlib import Path

from service.artifact import GRAPH, MANIFEST, sha256
from tests.bench.subject import SHIPPED
from tests.soak.soak import MODELS

NAMES = (SHIPPED.generate, SHIPPED.classify)
DOC_STRING = 6 << 3 | 2  # field 6 of a ModelProto, bytes of a length: see onnx.proto


def shelf(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A models folder with the newest version of these models."""
    for name in names:
        shutil.copytree(newest(MODELS, name), folder / name / newest(MODELS, name).name)
    return folder


def newest(models: Path, name: str) -> Path:
    return max((path for path in (models / name).iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def next_version(models: Path, name: str, spoil: bool = False) -> int:
    """Publishes the newest version once more, as the next one, which answers alike; spoil: with one bit of its graph turned over.

    Returns its number when it lies there.
    """
    before = newest(models, name)
    version = int(before.name) + 1
    scratch = models / f".{name}-{version}"
    shutil.copytree(before, scratch, copy_function=os.link)
    graph = _renamed((before / GRAPH).read_bytes(), f"version {version}")
    _replace(scratch / GRAPH, _turned(graph) if spoil else graph)
    _replace(scratch / MANIFEST, _numbered(before / MANIFEST, version, sha256(graph)))
    scratch.rename(models / name / str(version))
    return version


def _renamed(graph: bytes, documentation: str) -> bytes:
    """With another doc_string, so that it is another one to a state. Of a field that stands twice, the last counts."""
    return graph + bytes([DOC_STRING, len(documentation)]) + documentation.encode()


def _numbered(manifest: Path, version: int, graph: str) -> bytes:
    told = json.loads(manifest.read_text(encoding="utf-8"))
    told["files"][GRAPH] = graph
    return json.dumps({**told, "version": version}, ensure_ascii=False).encode()


def _turned(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _replace(path: Path, content: bytes) -> None:
    """Not the file that others share."""
    path.unlink()
    path.write_bytes(content)
