"""What is answered, as OpenAPI tells it. Field names follow Text Generation Inference and Text Embeddings Inference."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.artifact import Cell, Ngrams, Score, Tables, Task, Unit
from service.settings import Wanted


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class PrefillToken(_Answer):
    """logprob: given what stands before; top_tokens: the likeliest there. Left out where nobody asked, null for the first word."""

    id: int
    text: str
    logprob: float | None = None
    top_tokens: list["TokenAnswer"] | None = None


class TokenAnswer(_Answer):
    """logprob: the model's own, in nats, before any sampling option."""

    id: int
    text: str
    logprob: float
    special: bool


class Details(_Answer):
    """unknown_words: words of the prompt that the model does not know; seed: null where nothing was drawn.

    prefill: the prompt, with log-probabilities where it was scored, and perplexity: exp of minus their mean.
    """

    finish_reason: Literal["length", "eos_token", "stop_sequence"]
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillToken]
    perplexity: float | None = None
    tokens: list[TokenAnswer]
    top_tokens: list[list[TokenAnswer]] | None = None
    unknown_words: list[str]


class GenerateAnswer(_Answer):
    generated_text: str
    details: Details | None = None
    state: str | None = None


class StreamDetails(_Answer):
    finish_reason: Literal["length", "eos_token", "stop_sequence"]
    generated_tokens: int
    input_length: int
    seed: int | None


class StreamEvent(_Answer):
    """One server-sent event, after `data:`; the last one has generated_text, details and state where they were asked for."""

    index: int
    token: TokenAnswer
    top_tokens: list[TokenAnswer] | None = None
    generated_text: str | None
    details: StreamDetails | None
    state: str | None = None


class LabelScore(_Answer):
    label: str
    score: float


class Attribution(_Answer):
    """A word, what stands between two spaces, and what it does to the best label: how the answer differs without it.

    start, end: where it stands in the text, in Unicode's characters. score: of the best label for the text without the word.
    influence: how much larger the log-odds of that label are with the word than without; where function_to_apply is not softmax,
    its logit. Both are null where nothing would be left.
    """

    text: str
    start: int
    end: int
    influence: float | None
    score: float | None


class ClassifyDetails(_Answer):
    attributions: list[Attribution]


class DetailedLabels(_Answer):
    """What details ask for; labels: as they are told without."""

    labels: list[LabelScore]
    details: ClassifyDetails


ErrorType = Literal[
    "unauthorized",
    "forbidden",
    "validation",
    "not_found",
    "method_not_allowed",
    "state_mismatch",
    "too_large",
    "overloaded",
    "unavailable",
    "deadline",
    "internal",
]


class ErrorAnswer(_Answer):
    """Every error: a sentence for a person, a word for a program."""

    error: str
    error_type: ErrorType


class ModelAnswer(_Answer):
    """What serves, from its manifest."""

    name: str
    version: int
    task: Task
    default: bool
    wanted: Wanted
    description: str
    cell: Cell
    layers: int
    directions: int
    hidden: int
    vocabulary: int
    parameters: int
    unit: Unit
    ngrams: Ngrams | None
    tables: Tables
    labels: list[str]
    max_input_words: int
    state_bytes: int
    scores: list[Score]
    plots: list[str]
    trained: str


class ChoiceAnswer(_Answer):
    """What is wanted of a model, a version, the newest or none, and which version serves."""

    name: str
    wanted: Wanted
    serving: int | None


class RefusedAnswer(_Answer):
    name: str
    version: int
    reason: str


class ModelsAnswer(_Answer):
    models: list[ModelAnswer]
    refused: list[RefusedAnswer]


class InfoAnswer(_Answer):
    """The service itself, and the limits of a request."""

    service: str
    version: str
    onnxruntime: str
    provider: str
    threads: int
    generate_model: str
    classify_model: str
    max_new_tokens: int
    max_best_of: int
    max_inputs: int
    max_input_characters: int
    max_body_bytes: int
    max_waiting: int
    max_rows: int
    max_answer_tokens: int
    request_timeout_s: float


class HealthAnswer(_Answer):
    status: Literal["live", "ready"]
