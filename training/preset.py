"""Presets: configurations that are read from training/presets/, with what was typed laid over them. Owns the names of keys."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from training.config import HUB, SPLITS, Config
from training.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"
EARLIER_STAGES = ("pretrain", "selftrain")  # their keys are named in full: epochs alone are those of fit
_A_NAME = "is part of an address: a letter a to z or a digit, then at most 63 letters a to z, digits, dots, dashes and underscores"
STARTERS = ("starter-next-word", "starter-sentiment")

# Keys, or all of a section but its epochs, that only some configurations read: which, in words and as a question.
_READ_WITH: dict[str, tuple[str, Callable[[Config], bool]]] = {
    "fit.window": ("with fit.mode=stream", lambda config: config.fit.mode == "stream"),
    "text.max_length": ("with fit.mode=sentence", lambda config: config.fit.mode == "sentence"),
    "model.buckets": ("with model.ngrams above 0", lambda config: config.model.ngrams > 0),
    "data.label_column": ("by a model that classifies", lambda config: config.task == "classify"),
    "data.labels": ("by a model that classifies", lambda config: config.task == "classify"),
    "pretrain": ("with pretrain.epochs above 0", lambda config: config.pretrain.epochs > 0),
    "selftrain": ("with selftrain.epochs above 0, which needs data.unlabelled", lambda config: config.selftrain.epochs > 0),
}


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(preset: str, overrides: Iterable[str] = (), data: str | None = None) -> Config:
    """The preset with `key=value` overrides laid over it and, where given, data as the place of the text.

    A key is dotted (`model.hidden`), or the last part alone (`hidden`): that of pretrain or selftrain only where no other section
    has it. Raises ConfigError, naming the preset or the key.
    """
    raw = _read_preset(preset)
    described = raw["description"]
    if data is not None:
        raw["data"] = {k: v for k, v in raw.get("data", {}).items() if k not in SPLITS}
        raw["data"] |= {"train": data} if data.startswith(HUB) else _locate(Path(data))
    typed = [_lay_over(raw, override) for override in overrides]
    _fit_to_unlabelled(raw, typed)
    if raw["name"] != preset and raw["description"] == described:
        raw["description"] = f"Trained with the preset {preset} on data of its own."
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(describe(error)) from error
    if config.data.unlabelled is not None and not (config.pretrain.epochs or config.selftrain.epochs):
        raise ConfigError("data.unlabelled: only pretrain.epochs and selftrain.epochs read it, and both are 0")
    _refuse_unread(config, typed)
    return config


def left_out(preset: str, config: Config) -> str | None:
    """What a preset would do and this configuration cannot, in a sentence."""
    if preset not in preset_names() or config.selftrain.epochs or config.data.unlabelled is not None:
        return None
    if not _read_preset(preset).get("selftrain", {}).get("epochs"):
        return None
    return f"no self-training: the preset {preset} does it on texts without labels, and there are none (--unlabelled)"


def _lay_over(raw: dict[str, Any], override: str) -> str:
    """Puts one key=value into raw. Returns the key in full."""
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: write it as key=value")
    section, leaf = _resolve(key.strip())
    target = raw if section is None else raw.setdefault(section, {})
    target[leaf] = _parse(key, value)
    return leaf if section is None else f"{section}.{leaf}"


def _refuse_unread(config: Config, typed: list[str]) -> None:
    """What was typed is read or refused; what a preset has left over, as the window of one that was set to sentences, may stay."""
    for key in typed:
        section, _, leaf = key.partition(".")
        where, is_read = _READ_WITH.get(key) or _READ_WITH.get(section) or ("", lambda _: True)
        if leaf != "epochs" and not is_read(config):
            raise ConfigError(f"{key}: is read only {where}; leave it out")


def _fit_to_unlabelled(raw: dict[str, Any], typed: list[str]) -> None:
    """A preset uses texts without labels where there are any, and a folder may hold some that a preset cannot use.

    Only what was typed is taken at its word, and refused where it makes no sense.
    """
    files, stages = raw.get("data", {}), [raw[name] for name in EARLIER_STAGES if raw.get(name, {}).get("epochs")]
    if not stages and "data.unlabelled" not in typed:
        files.pop("unlabelled", None)
    if not files.get("unlabelled") and "selftrain.epochs" not in typed and "selftrain" in raw:
        raw["selftrain"]["epochs"] = 0


def _read_preset(preset: str) -> dict[str, Any]:
    path = PRESETS / f"{preset}.yaml"
    if preset not in preset_names():
        raise ConfigError(f"--preset {preset}: there is no such preset; there are {', '.join(preset_names())}")
    raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    files = raw.get("data", {})
    for split in SPLITS:
        if files.get(split):
            files[split] = str(PRESETS.parent / files[split])
    return raw


def _locate(path: Path) -> dict[str, str]:
    """A file is the training data; a folder holds train, and perhaps valid, test and unlabelled, each as one file."""
    if not path.is_dir():
        return {"train": str(path)}
    found = {}
    for split in SPLITS:
        files = sorted(p for p in path.glob(f"{split}.*") if p.is_file())
        if len(files) > 1:
            raise ConfigError(f"--data {path}: both {files[0].name} and {files[1].name} could be the {split} split")
        if files:
            found[split] = str(files[0])
    if "train" not in found:
        raise ConfigError(f"--data {path}: the folder has no train.txt, .csv, .tsv, .jsonl or .parquet; name the file itself")
    return found


def _resolve(key: str) -> tuple[str | None, str]:
    """The section and field that a key of the command line means."""
    sections = _sections()
    head, dot, leaf = key.partition(".")
    if dot:
        if head in sections and leaf in sections[head]:
            return head, leaf
    elif key in Config.model_fields and key not in sections:
        return None, key
    else:
        owners = [name for name, fields in sections.items() if key in fields]
        owners = [name for name in owners if name not in EARLIER_STAGES] or owners
        if len(owners) == 1:
            return owners[0], key
    known = sorted({*(set(Config.model_fields) - set(sections)), *(f"{s}.{f}" for s in sections for f in sections[s])})
    raise ConfigError(f"--set {key}: there is no such key; there are {', '.join(known)}")


def _sections() -> dict[str, set[str]]:
    """The fields of every part of Config that is a model itself."""
    kinds = {name: field.annotation for name, field in Config.model_fields.items()}
    return {name: set(kind.model_fields) for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def _parse(key: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # an impossible date or number; brackets without end
        raise ConfigError(f"--set {key}: {value!r} is not a value: {str(error).splitlines()[0]}") from error


def describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        message = _A_NAME
    return f"{key}: {message}, not {first['input']!r}" if key else message
