"""The configuration of one run: a frozen model, every key with its bounds and meaning. Knows neither presets nor torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.artifact import NAME_PATTERN, Cell, Pooling, Task, Unit
from training.schedule import Schedule

SPLITS = ("train", "valid", "test", "unlabelled")
HUB = "hub:"

_DOES: dict[Task, str] = {"generate": "generates", "classify": "classifies"}

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Frozen):
    """Where the text is. A relative path in a preset is relative to training/; one from the command line to where it was typed.

    hub:NAME or hub:NAME:CONFIGURATION is a data set of the Hugging Face hub, or a folder that `datasets` can load, instead of a
    file.
    """

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    unlabelled: str | None = Field(None, description="classification: texts without labels that pretrain reads, a .txt or a table")
    text_column: str = "text"
    label_column: str = "label"
    columns: list[str] | None = Field(None, description="names of the columns of a csv or tsv file without a header line")
    labels: dict[str, str] = Field({}, description="what the labels in the file are called in answers")
    valid_fraction: Fraction = Field(0.1, description="held out of train where there is no valid file; 0 for none")
    test_fraction: Fraction = Field(0.1, description="held out of train where there is no test file; 0 for none")


class TextConfig(_Frozen):
    """How text becomes words."""

    unit: Unit = Field("word", description="what a model reads and writes at a time: a word, a frequent part of one, a character")
    punctuation: Literal["split", "keep", "drop"] = Field("split", description="marks: words of their own, parts of words, gone")
    lowercase: bool = False
    max_words: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        20_000, description="vocabulary size, the most frequent words of the training split and of the texts without labels"
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
    ngrams: Annotated[int, Field(ge=0, le=6)] = Field(
        0, description="classification: longest run of a word's characters that is read beside the word; 0 for words alone"
    )
    buckets: Annotated[int, Field(ge=1, le=2**20)] = Field(65_536, description="rows of the table that runs of characters share")
    dropout: Fraction = Field(
        0.0, description="share of numbers dropped before, between and after the layers, the same at every step"
    )
    word_dropout: Fraction = Field(0.0, description="share of words whose embedding is dropped everywhere in a batch")
    weight_dropout: Fraction = Field(0.0, description="share of the weights from state to state that a batch does without")
    tied: bool = Field(True, description="generation: the output layer is the embedding")
    pooling: Pooling = Field("max", description="classification: how a text's steps become one vector; concat: last, max and mean")
    head: Literal["softmax", "sigmoid"] = Field("softmax", description="classification: one logit a label, or one in all for two")
    tables: Literal["float32", "int8"] = Field("float32", description="how embeddings are stored: int8 has a scale a row")


class PretrainConfig(_Frozen):
    """Classification: both directions first learn to predict the next word of data.unlabelled and of the training texts."""

    epochs: Annotated[int, Field(ge=0)] = Field(0, description="0: no pre-training")
    batch_size: Positive = 96
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 3e-3
    dropout: Fraction = 0.1
    words: Positive = Field(10_000, description="the most frequent words, which are predicted; the others are only read")


class SelfTrainConfig(_Frozen):
    """Classification: models that learnt from the labels label data.unlabelled, and a fresh one learns from both."""

    epochs: Annotated[int, Field(ge=0)] = Field(0, description="0: no self-training")
    teachers: Positive = Field(1, description="models fitted on the labels, each with a seed of its own")
    batch_size: Positive = 192
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 2e-3
    dropout: Fraction = Field(0.2, description="instead of model.dropout: far more text needs less of it")


class FitConfig(_Frozen):
    mode: Literal["sentence", "stream"] = Field(
        "sentence", description="generation: every row begins anew, or the rows are one text and the state is carried on"
    )
    window: Annotated[int, Field(ge=2)] = Field(35, description="stream: words after which the gradient is cut, but not the state")
    epochs: Positive = 10
    batch_size: Positive = 64
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Schedule = Field("constant", description="linear, cosine: after a short warm-up falls to nothing over all epochs")
    clip: Annotated[float, Field(gt=0)] = Field(1.0, description="largest norm of the gradient")
    patience: Positive = Field(3, description="epochs without a better validation loss before it stops")
    precision: Literal["float32", "bfloat16", "auto"] = Field("float32", description="auto: bfloat16 where the machine has it")
    average: Fraction = Field(0.0, description="weights averaged over the steps: the share that the past keeps, 0.999 say; 0: none")
    label_smoothing: Fraction = Field(0.0, description="classification: share of every target that is spread over all labels")
    class_weights: Literal["none", "balanced"] = Field("none", description="classification: balanced: rare labels count as much")
    checkpoint_s: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds between checkpoints within an epoch")


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
    pretrain: PretrainConfig = PretrainConfig()
    selftrain: SelfTrainConfig = SelfTrainConfig()
    fit: FitConfig = FitConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.task == "generate" and self.model.bidirectional:
            raise ValueError("model.bidirectional: a model that generates must not see the words to come; use it to classify")
        for key, given in _only_for_the_other_task(self).items():
            if given:
                raise ValueError(f"{key}: means nothing to a model that {_DOES[self.task]}")
        if self.pretrain.epochs and not self.model.bidirectional:
            raise ValueError("pretrain.epochs: is for a model of two directions (model.bidirectional=true)")
        if self.selftrain.epochs and self.data.unlabelled is None:
            raise ValueError("selftrain.epochs: there is no text without labels to learn from (data.unlabelled)")
        if self.text.unit == "char" and self.model.ngrams:
            raise ValueError("model.ngrams: a model that reads characters one by one has no runs of them within a word")
        return self


def _only_for_the_other_task(config: Config) -> dict[str, bool]:
    """Keys that would be accepted and ignored, and whether they are set."""
    if config.task == "classify":
        return {
            "fit.mode": config.fit.mode == "stream",
            "fit.window": _is_set(config.fit, "window"),
            "model.tied": _is_set(config.model, "tied"),
            "text.sentence_end": _is_set(config.text, "sentence_end"),
        }
    fit = config.fit
    return {
        "model.pooling": _is_set(config.model, "pooling"),
        "model.head": _is_set(config.model, "head"),
        "model.buckets": _is_set(config.model, "buckets"),
        "data.unlabelled": config.data.unlabelled is not None,
        "model.ngrams": config.model.ngrams > 0,
        "pretrain.epochs": config.pretrain.epochs > 0,
        "selftrain.epochs": config.selftrain.epochs > 0,
        "fit.label_smoothing": fit.label_smoothing > 0,
        "fit.class_weights": fit.class_weights != "none",
    }


def _is_set(section: BaseModel, field: str) -> bool:
    """Whether it is something else than the default."""
    return bool(getattr(section, field) != type(section).model_fields[field].default)
