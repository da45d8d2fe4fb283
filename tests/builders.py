"""Small real models for the tests: random weights, but exported, described and published by the product's own code."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from service.artifact import Artifact, Cell, Pooling, Score, Tables, Task, Unit, load
from service.inference.runtime import Runtime
from training.config import Config, DataConfig, FitConfig, ModelConfig, TextConfig
from training.corpus import Corpus, load_corpus
from training.export import Exported, export_classifier, export_language_model
from training.manifest import describe
from training.model import LanguageModel, Model
from training.progress import Epoch, Fitted
from training.publish import publish
from training.stages import build_model

BUCKETS = 50  # of runs of characters: so few that some share one
WORDS = [*"오늘 날씨가 정말 좋다 집 앞 공원에 사람들이 모여 있다".split(), *"the cat sat on a mat with some music".split()]


@dataclass(frozen=True)
class Small:
    """What a test may want to be different about its model."""

    task: Task = "generate"
    cell: Cell = "lstm"
    layers: int = 1
    bidirectional: bool = False
    embedding: int = 12
    hidden: int = 16
    tied: bool = True
    unit: Unit = "word"
    ngrams: int = 0
    tables: Tables = "float32"
    pooling: Pooling = "max"
    head: Literal["softmax", "sigmoid"] = "softmax"
    labels: tuple[str, ...] = ("negative", "positive")
    sentence_end: bool = True
    words: tuple[str, ...] = field(default=tuple(WORDS))
    seed: int = 1

    @property
    def name(self) -> str:
        parts = [f"{'bi' if self.bidirectional else ''}{self.cell}{self.layers}", self.task]
        parts += ["char"] * (self.unit == "char") + ["ngrams"] * (self.ngrams > 0) + ["int8"] * (self.tables == "int8")
        return "-".join(parts)


def small_config(small: Small, folder: Path) -> Config:
    """A configuration over a file of sentences made of the words, each word in some of them."""
    data = folder / ("sentences.txt" if small.task == "generate" else "sentences.csv")
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text(_sentences(small), encoding="utf-8")
    return Config(
        name=small.name,
        task=small.task,
        description="A small model for tests.",
        source="made by the tests",
        seed=small.seed,
        data=DataConfig(train=str(data), valid_fraction=0, test_fraction=0),
        text=_text_config(small),
        model=_model_config(small),
        fit=FitConfig(batch_size=4, epochs=1),
    )


def _text_config(small: Small) -> TextConfig:
    # Where unknown words are read by their characters, there are some.
    common = TextConfig(unit=small.unit, max_words=12 if small.ngrams else 20_000)
    return common if small.task == "classify" else common.model_copy(update={"sentence_end": small.sentence_end})


def _model_config(small: Small) -> ModelConfig:
    common = ["cell", "layers", "bidirectional", "embedding", "hidden", "tables"]
    names = [*common, "tied"] if small.task == "generate" else [*common, "ngrams", "pooling", "head"]
    buckets = {"buckets": BUCKETS} if small.ngrams else {}
    return ModelConfig.model_validate({name: getattr(small, name) for name in names} | buckets)


def small_model(small: Small, folder: Path) -> tuple[Config, Corpus, Model]:
    """An untrained model; its weights are large enough that words differ clearly."""
    config = small_config(small, folder)
    encoded = folder / "encoded"
    encoded.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(config, encoded)
    model = build_model(config, corpus)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and "bias" not in name:
                weight.mul_(2.0)
    model.settle()
    return config, corpus, model.eval()


def export(model: Model, corpus: Corpus) -> Exported:
    return export_language_model(model) if isinstance(model, LanguageModel) else export_classifier(model, len(corpus.labels))


def publish_small(models: Path, small: Small, scratch: Path) -> Path:
    """The model as the next version in models, through the product's own export and publishing."""
    config, corpus, model = small_model(small, scratch / small.name)
    exported = export(model, corpus)
    epoch = Epoch(1, 1.0, None, 1.0)
    scores = [Score(metric="loss", split="train", value=1.0)]
    manifest = describe(config, corpus, model, exported, Fitted([epoch], epoch, 1.0), scores, "test", "none")
    files = {"model.onnx": exported.graph, "tokenizer.json": corpus.tokenizer.to_json().encode()}
    return publish(models, manifest, files)


def open_small(small: Small, folder: Path) -> tuple[Artifact, Runtime, Model]:
    """The same model three times: as its folder was read, in onnxruntime, in torch."""
    _, _, model = small_model(small, folder / "scratch" / small.name)
    artifact = load(publish_small(folder / "models", small, folder / "scratch"))
    return artifact, Runtime(artifact), model


def _sentences(small: Small) -> str:
    chance = random.Random(7)
    rows = [" ".join(chance.choices(small.words, k=chance.randint(2, 9))) for _ in range(40)] + [" ".join(small.words)]
    if small.task == "generate":
        return "\n".join(rows) + "\n"
    return "text,label\n" + "".join(f"{row},{small.labels[index % len(small.labels)]}\n" for index, row in enumerate(rows))
