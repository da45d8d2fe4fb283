"""The configuration of one run: a frozen model read from a preset, overridden from the command line. Knows no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.artifact import NAME_PATTERN, Cell, Task
from training.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"
STARTERS = ("starter-next-word", "starter-sentiment")

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Frozen):
    """Where the text is. A relative path in a preset is relative to training/; one from the command line to where it was typed."""

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    columns: list[str] | None = Field(None, description="names of the columns of a csv or tsv file without a header line")
    labels: dict[str, str] = Field({}, description="what the labels in the file are called in answers")
    valid_fraction: Fraction = Field(0.1, description="held out of train where there is no valid file; 0 for none")
    test_fraction: Fraction = Field(0.1, description="held out of train where there is no test file; 0 for none")


class TextConfig(_Frozen):
    """How text becomes words."""

    punctuation: Literal["split", "keep", "drop"] = Field("split", description="marks: words of their own, parts of words, gone")
    lowercase: bool = False
    max_words: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        20_000, description="vocabulary size, the most frequent words of the training split"
    )
    min_count: Positive = 1
    max_length: Annotated[int, Field(ge=2)] = Field(64, description="words of a text that training looks at")
    sentence_end: bool = Field(True, description="generation: learn where a sentence ends, and to begin one")


class ModelConfig(_Frozen):
    cell: Cell = "lstm"
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    bidirectional: bool = False
    embedding: Annotated[int, Field(ge=1, le=8192)] = 128
    hidden: Annotated[int, Field(ge=1, le=8192)] = 128
    dropout: Fraction = 0.0
    tied: bool = Field(True, description="generation: the output layer is the embedding")
    pooling: Literal["last", "mean", "max"] = Field("max", description="classification: how a text's steps become one vector")
    head: Literal["softmax", "sigmoid"] = Field("softmax", description="classification: one logit a label, or one in all for two")


class FitConfig(_Frozen):
    epochs: Positive = 10
    batch_size: Positive = 64
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "linear"] = Field("constant", description="linear: falls to nothing over all epochs")
    clip: Annotated[float, Field(gt=0)] = Field(1.0, description="largest norm of the gradient")
    patience: Positive = Field(3, description="epochs without a better validation loss before it stops")
    precision: Literal["float32", "bfloat16"] = "float32"


class Config(_Frozen):
    """Everything one run depends on, apart from the data itself."""

    name: str = Field(pattern=NAME_PATTERN)
    task: Task
    description: str
    source: str = Field(description="where anyone can get the data, with its licence")
    seed: int = Field(1, ge=0, lt=2**31)
    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.task == "generate" and self.model.bidirectional:
            raise ValueError("model.bidirectional: a model that generates must not see the words to come; use it to classify")
        return self


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(preset: str, overrides: Iterable[str] = (), data: str | None = None) -> Config:
    """The preset with `key=value` overrides laid over it and, where given, data as the place of the text.

    A key is dotted (`model.hidden`), or the last part alone where only one section has it (`hidden`).
    Raises ConfigError, naming the preset or the key.
    """
    raw = _read_preset(preset)
    described = raw["description"]
    if data is not None:
        raw["data"] = {k: v for k, v in raw.get("data", {}).items() if k not in ("train", "valid", "test")}
        raw["data"] |= _locate(Path(data))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write it as key=value")
        section, leaf = _resolve(key.strip())
        target = raw if section is None else raw.setdefault(section, {})
        target[leaf] = _parse(key, value)
    if raw["name"] != preset and raw["description"] == described:
        raw["description"] = f"Trained with the preset {preset} on data of its own."
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_describe(error)) from error


def _read_preset(preset: str) -> dict[str, Any]:
    path = PRESETS / f"{preset}.yaml"
    if preset not in preset_names():
        raise ConfigError(f"--preset {preset}: there is no such preset; there are {', '.join(preset_names())}")
    raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    files = raw.get("data", {})
    for split in ("train", "valid", "test"):
        if files.get(split):
            files[split] = str(PRESETS.parent / files[split])
    return raw


def _locate(path: Path) -> dict[str, str]:
    """A file is the training data; a folder holds train, and perhaps valid and test, each as one file."""
    if not path.is_dir():
        return {"train": str(path)}
    found = {}
    for split in ("train", "valid", "test"):
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


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, not {first['input']!r}" if key else message
