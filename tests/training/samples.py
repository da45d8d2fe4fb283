"""Small data for the tests of training: files in every format, and command lines whose training takes a blink."""

import csv
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets

from training.config import Config, DataConfig, FitConfig, SelfTrainConfig

WORDS = "오늘 날씨가 정말 좋다 집 앞 공원에 있다 the cat sat on a mat".split()
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")

# A preset that ships with data of its own, made so small that a run takes a fraction of a second.
TINY_GENERATE = ("--preset", "starter-next-word", "--set", "hidden=6", "--set", "epochs=2", "--set", "batch_size=16")
TINY_CLASSIFY = (
    *("--preset", "starter-sentiment", "--set", "hidden=6", "--set", "embedding=5"),
    *("--set", "epochs=2", "--set", "batch_size=16"),
)
TINY = {"generate": TINY_GENERATE, "classify": TINY_CLASSIFY}


def sentences(count: int, seed: int = 7) -> list[str]:
    """Different sentences of 3 to 9 words."""
    chance, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        found[" ".join(chance.choices(WORDS, k=chance.randint(3, 9)))] = None
    return list(found)


def write_text(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_table(path: Path, rows: Sequence[tuple[str, str]], columns: tuple[str, str] = ("text", "label")) -> Path:
    """Rows of two columns in the format that the path's suffix names. A .tsv has no quoting, so no tabs within."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        return write_text(path, (json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows))
    if path.suffix == ".parquet":
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))).to_parquet(path)
        return path
    if path.suffix == ".tsv":
        return write_text(path, ("\t".join(row) for row in [columns, *rows]))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def write_labelled(path: Path, count: int = 60, labels: Sequence[str] = ("down", "up")) -> Path:
    """count different sentences, whose labels take turns."""
    return write_table(path, [(text, labels[index % len(labels)]) for index, text in enumerate(sentences(count))])


def left_in(models: Path) -> list[str]:
    """Everything below a models folder, whether it should be there or not."""
    return sorted(str(path.relative_to(models)) for path in models.rglob("*"))


def classify(train: Path | str, **data: object) -> Config:
    """For the tests of data: what is not about it stays as it is by default."""
    return Config(
        name="t",
        task="classify",
        description="d",
        source="the moon",
        data=DataConfig.model_validate({"train": str(train), **data}),
        selftrain=SelfTrainConfig(epochs=int("unlabelled" in data)),  # something has to read the texts without labels
        fit=FitConfig(batch_size=2),
    )


def generate(train: Path | str, **data: object) -> Config:
    return classify(train, **data).model_copy(update={"task": "generate"})
