"""Published folders with something wrong in them: what a model's loader must refuse, and how its line goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from service.artifact import GRAPH, MANIFEST, TOKENIZER, sha256

Change = Callable[[dict[str, Any]], object]


def copy_version(models: Path, name: str, target: Path, version: int = 1) -> Path:
    """A sound version of a published model in another models folder."""
    folder = target / name / str(version)
    shutil.copytree(models / name / "1", folder)
    edit_manifest(folder, lambda manifest: manifest.update(version=version))
    return folder


def edit_manifest(folder: Path, change: Change) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Other content under a hash that matches it: what an attacker or a wrong tool would publish."""
    (folder / name).write_bytes(content)
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: sha256(content)}))


def edit_tokenizer(folder: Path, change: Change) -> None:
    raw = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    change(raw)
    replace_file(folder, TOKENIZER, json.dumps(raw).encode())


def edit_graph(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load_from_string((folder / GRAPH).read_bytes())
    change(model)
    replace_file(folder, GRAPH, model.SerializeToString())


def flip_byte(path: Path, at: int = 1000) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1
    path.write_bytes(content)


def external(folder: Path, location: str = "weights.bin") -> Path:
    """Moves the weights out of the graph into a file of the folder, whose path is returned."""
    model = onnx.load_from_string((folder / GRAPH).read_bytes())
    weights = bytearray()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            content = tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", str(len(weights))), ("length", str(len(content)))):
                tensor.external_data.add(key=key, value=value)
            weights += content
    (folder / "weights.bin").write_bytes(weights)
    replace_file(folder, GRAPH, model.SerializeToString())
    return folder / "weights.bin"


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "words"
    for node in model.graph.node:
        node.input[:] = ["words" if name == "ids" else name for name in node.input]


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1]))


def _set(*path: str | int, to: Any) -> Callable[[Path], None]:
    """A damage: the manifest says something else at path."""

    def change(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        manifest[path[-1]] = to

    return lambda folder: edit_manifest(folder, change)


def _other_vocabulary(folder: Path) -> None:
    """The manifest agrees with itself, and with nothing else."""
    _set("sizes", "vocabulary", to=99)(folder)
    _set("outputs", 0, "shape", to=["wanted_rows", 99])(folder)


def _lists_too(name: str) -> Callable[[Path], None]:
    return _set("files", name, to=sha256(b""))


def _without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def _manifest(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / MANIFEST).write_bytes(content)


def _half_manifest(folder: Path) -> None:
    content = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(content[: len(content) // 2])


def _manifest_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()


def _add_token(raw: dict[str, Any]) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    raw["added_tokens"].append({"id": len(raw["model"]["vocab"]), "content": "<secret>", **flags})


def _add_gap(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"]["▁gap"] = len(raw["model"]["vocab"]) + 7


def _swap_words(raw: dict[str, Any]) -> None:
    """Moves every word but the special ones to another's id."""
    vocabulary = raw["model"]["vocab"]
    words = [word for word in vocabulary if not word.startswith("<")]
    vocabulary.update(zip(words, [vocabulary[word] for word in [*words[1:], words[0]]], strict=True))


def _add_word(folder: Path) -> None:
    """A word more in the tokenizer and the manifest than the graph has rows for."""
    edit_tokenizer(folder, lambda raw: raw["model"]["vocab"].update({"▁whale": len(raw["model"]["vocab"])}))
    edit_manifest(folder, lambda manifest: manifest["sizes"].update(vocabulary=manifest["sizes"]["vocabulary"] + 1))


def _shift_logit(manifest: dict[str, Any]) -> None:
    manifest["golden"][0]["logits"][0] += 0.1


# What reading the folder finds; every line starts with the folder, as name/version.
READING: dict[str, tuple[Callable[[Path], object], str]] = {
    "a damaged graph": (lambda folder: flip_byte(folder / GRAPH), "model.onnx is damaged: its SHA-256"),
    "a damaged tokenizer": (lambda folder: flip_byte(folder / TOKENIZER), "tokenizer.json is damaged: its SHA-256"),
    "half a graph": (lambda folder: (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:99]), "model.onnx is damaged"),
    "an empty graph": (lambda folder: (folder / GRAPH).write_bytes(b""), "model.onnx is damaged"),
    "a wrong hash": (_set("files", GRAPH, to="0" * 64), "model.onnx is damaged"),
    "no graph": (_without(GRAPH), "model.onnx cannot be read: No such file"),
    "no tokenizer": (_without(TOKENIZER), "tokenizer.json cannot be read: No such file"),
    "no manifest": (_without(MANIFEST), "manifest.json is missing"),
    "nothing at all": (_without(MANIFEST, GRAPH, TOKENIZER), "manifest.json is missing"),
    "a folder for a manifest": (_manifest_folder, "manifest.json cannot be read: it is no plain file"),
    "an empty manifest": (_manifest(b""), "manifest.json is not JSON: "),
    "half a manifest": (_half_manifest, "manifest.json is not JSON: "),
    "a manifest in no encoding": (_manifest(b"\xff\xfe\x00{"), "manifest.json is not JSON: "),
    "a manifest of 100,000 brackets": (_manifest(b"[" * 100_000), "manifest.json"),
    "a manifest that is a list": (_manifest(b"[1]"), "manifest.json has schema version None"),
    "a newer schema": (_set("schema_version", to=4), "manifest.json has schema version 4, this service reads 3"),
    "an older schema": (_set("schema_version", to=2), "manifest.json has schema version 2, this service reads 3"),
    "a schema version in words": (_set("schema_version", to="one"), "manifest.json has schema version "),
    "a schema version on two lines": (_set("schema_version", to="1\n2"), "manifest.json has schema version "),
    "no schema version": (_set("schema_version", to=None), "manifest.json has schema version None"),
    "an unknown field": (_set("colour", to="red"), "manifest.json: colour: "),
    "an unknown field further in": (_set("sizes", "colour", to="red"), "manifest.json: sizes.colour: "),
    "an unknown field on two lines": (_set("a\nb", to=1), "manifest.json: "),
    "a negative size": (_set("sizes", "hidden", to=-1), "manifest.json: sizes.hidden: "),
    "an unknown unit": (_set("unit", to="syllable"), "manifest.json: unit: "),
    "tables of another kind": (_set("tables", to="int4"), "manifest.json: tables: "),
    "n-grams of a model that generates": (
        _set("ngrams", to={"longest": 3, "buckets": 50, "slots": 24}),
        "manifest.json: ngrams: belong to a model that classifies and reads words",
    ),
    "a baseline that is no number": (_set("scores", 0, "baselines", to={"a guess": "good"}), "manifest.json: scores.0.baselines."),
    "an unknown task": (_set("task", to="translate"), "manifest.json: task: "),
    "a figure that is no number": (_set("scores", 0, "value", to=float("nan")), "manifest.json: scores.0.value: "),
    "no golden example": (_set("golden", to=[]), "manifest.json: golden: "),
    "a newer opset": (_set("opset", to=22), "made for opset 22 and IR version 10, newer than the 21 and 10"),
    "a newer IR version": (_set("ir_version", to=11), "made for opset 21 and IR version 11, newer than the 21 and 10"),
    "the manifest of another model": (_set("name", to="another"), "its manifest is that of another/"),
    "the manifest of another version": (_set("version", to=77), "its manifest is that of "),
    "no graph in the list of files": (_set("files", to={TOKENIZER: "0"}), "manifest.json lists no model.onnx"),
    "no tokenizer in the list of files": (_set("files", to={GRAPH: "0"}), "manifest.json lists no tokenizer.json"),
    "a file outside the folder": (_lists_too("../x"), "manifest.json lists '../x', which is no plain file name"),
    "a file anywhere": (_lists_too("/etc/passwd"), "manifest.json lists '/etc/passwd', which is no plain file name"),
    "a file further in": (_lists_too("sub/x"), "manifest.json lists 'sub/x', which is no plain file name"),
    "the folder itself as a file": (_lists_too("."), "manifest.json lists '.', which is no plain file name"),
    "the folder above as a file": (_lists_too(".."), ""),
    "a file without a name": (_lists_too(""), ""),
    "a file whose name has a zero byte": (_lists_too("a\0b"), ""),
    "a file whose name has two lines": (_lists_too("a\nb"), ""),
    "a file whose name is too long": (_lists_too("x" * 5000), ""),
    "a tokenizer that is no JSON": (lambda folder: replace_file(folder, TOKENIZER, b"{"), "its tokenizer cannot be read"),
    "a tokenizer in no encoding": (lambda folder: replace_file(folder, TOKENIZER, b"\xff"), ""),
    "added tokens": (lambda folder: edit_tokenizer(folder, _add_token), "its tokenizer has added tokens"),
    "ids with gaps": (lambda folder: edit_tokenizer(folder, _add_gap), "its tokenizer's ids have gaps"),
    "words in another order": (lambda folder: edit_tokenizer(folder, _swap_words), "the tokenizer reads "),
    "logits of all rows instead of the wanted ones": (
        lambda folder: edit_manifest(folder, lambda manifest: manifest["outputs"][0]["shape"].__setitem__(0, "batch")),
        "outputs: logits have the shape ",
    ),
    "another vocabulary size": (_set("sizes", "vocabulary", to=9), "outputs: logits have the shape "),
    "another vocabulary size everywhere": (_other_vocabulary, "the tokenizer has "),
    "another padding id": (_set("special_ids", "padding", to=1), "the tokenizer's special ids are "),
    "golden ids of another text": (_set("golden", 0, "ids", to=[2, 2]), "the tokenizer reads "),
}

# What opening and running the graph finds.
RUNNING: dict[str, tuple[Callable[[Path], object], str]] = {
    "a graph stamped with opset 99": (
        lambda folder: edit_graph(folder, lambda model: setattr(model.opset_import[0], "version", 99)),
        "onnxruntime cannot load the graph: ",
    ),
    "a graph stamped with IR version 99": (
        lambda folder: edit_graph(folder, lambda model: setattr(model, "ir_version", 99)),
        "onnxruntime cannot load the graph: ",
    ),
    "bytes that are no graph": (lambda folder: replace_file(folder, GRAPH, b"no graph"), "onnxruntime cannot load the graph: "),
    "no bytes for a graph": (lambda folder: replace_file(folder, GRAPH, b""), "onnxruntime cannot load the graph: "),
    "weights outside the graph": (external, "onnxruntime cannot load the graph: "),
    "an input by another name": (lambda folder: edit_graph(folder, rename_input), "the graph's inputs are "),
    "an input more": (lambda folder: edit_graph(folder, add_input), "the graph's inputs are "),
    "an input less": (lambda folder: edit_manifest(folder, lambda manifest: manifest["inputs"].pop()), "the graph's inputs are "),
    "an input of another type": (_set("inputs", 1, "dtype", to="int64"), "the graph's inputs are "),
    "an output less": (
        lambda folder: edit_manifest(folder, lambda manifest: manifest["outputs"].pop()),
        "the graph's outputs are ",
    ),
    "an output of another size": (_set("outputs", 0, "shape", to=["batch", 3]), "outputs: logits have the shape "),
    "other golden logits": (lambda folder: edit_manifest(folder, _shift_logit), "the golden example "),
    "golden logits of outputs that are not there": (_set("golden", 0, "outputs", to=[10_000] * 5), ""),
    "a word that the graph does not know": (_add_word, ""),
    "another number of layers": (_set("layers", to=3), "the graph does not run: "),
    "another hidden size": (_set("sizes", "hidden", to=99), "the graph does not run: "),
}
