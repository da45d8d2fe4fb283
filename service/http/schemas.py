"""Requests and answers with every bound that does not depend on a setting. Knows no routes.

Field names follow Text Generation Inference and Text Embeddings Inference. Unknown fields are refused, types are not bent, and no
option is accepted and ignored.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from service.artifact import Cell, Score, Task
from service.errors import InvalidRequest


class Inputs(NamedTuple):
    """One text or a list of them; the answer has the same form."""

    texts: list[str]
    is_list: bool


def _read_inputs(value: Any) -> Inputs:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise ValueError("must be a text or a list of texts")
    if not texts:
        raise ValueError("the list is empty")
    for index, text in enumerate(texts):
        place = f"[{index}]: " if isinstance(value, list) else ""
        if not isinstance(text, str):
            raise ValueError(f"{place}must be a text")
        if not text.strip():
            raise ValueError(f"{place}is empty")
    return Inputs(texts, isinstance(value, list))


_INPUTS_SCHEMA = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}],
    "description": "A text or a list of texts; a list is always a batch, answered in order.",
}
InputsField = Annotated[Inputs, BeforeValidator(_read_inputs), WithJsonSchema(_INPUTS_SCHEMA)]
ModelField = Annotated[str | None, Field(max_length=100, description="A name of GET /models; left out: the default one.")]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class GenerateParameters(_Request):
    """How to continue. Without any: greedily, up to max_new_tokens."""

    max_new_tokens: int = Field(20, ge=1, description="Words to write at the most.")
    do_sample: bool | None = Field(None, description="Draw the words; left out, any of the four options below switches it on.")
    temperature: float | None = Field(None, gt=0, le=100, description="Below 1: surer; above: bolder.")
    top_k: int | None = Field(None, ge=1, description="Draw from this many likeliest words.")
    top_p: float | None = Field(None, gt=0, le=1, description="Draw from the likeliest words that together reach this share.")
    typical_p: float | None = Field(None, gt=0, le=1, description="Draw from the words of typical surprise up to this share.")
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=100, description="Above 1: words that stand already are less likely."
    )
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken off a word's logit for every time that it stands."
    )
    seed: int | None = Field(None, ge=0, lt=2**64, description="Same seed, same words; left out, one is drawn and told in details.")
    stop: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        [], max_length=8, description="The text ends with the first of these that it comes to."
    )
    return_full_text: bool = Field(False, description="Put the prompt before the answer.")
    truncate: int | None = Field(None, ge=1, description="Read only the last so many words of the prompt.")
    best_of: int | None = Field(None, ge=1, description="Draw so many answers and give the likeliest.")
    top_n_tokens: int | None = Field(None, ge=1, le=20, description="With details: the likeliest words at every step.")
    details: bool = Field(False, description="Tell why it ended, every word's log-probability, and the unknown words.")
    return_state: bool = Field(False, description="Not available yet: refused.")

    @property
    def samples(self) -> bool:
        options = (self.temperature, self.top_k, self.top_p, self.typical_p)
        return any(option is not None for option in options) if self.do_sample is None else self.do_sample

    @model_validator(mode="after")
    def _consistent(self) -> "GenerateParameters":
        if self.do_sample is False:
            for name in ("temperature", "top_k", "top_p", "typical_p"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: has no effect with do_sample false; leave one of them out")
        if self.seed is not None and not self.samples:
            raise ValueError("seed: has no effect on a greedy answer; set do_sample or leave it out")
        if self.best_of is not None and self.best_of > 1:
            if self.seed is not None:
                raise ValueError("best_of: with a fixed seed all answers would be the same; leave seed out")
            if not self.samples:
                raise ValueError("best_of: without sampling all answers would be the same; set do_sample")
        if self.top_n_tokens is not None and not self.details:
            raise ValueError("top_n_tokens: is told in details; set details")
        if self.return_state:
            raise ValueError("return_state: is not available in this version")
        return self


class GenerateRequest(_Request):
    """POST /generate"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": "영화가 정말", "parameters": {"max_new_tokens": 8, "details": True}}]}
    )

    inputs: InputsField
    parameters: GenerateParameters = Field(default_factory=GenerateParameters)
    stream: bool = Field(False, description="Not available yet: refused.")
    state: str | None = Field(None, description="Not available yet: refused.")
    model: ModelField = None

    @model_validator(mode="after")
    def _available(self) -> "GenerateRequest":
        if self.stream:
            raise ValueError("stream: is not available in this version")
        if self.state is not None:
            raise ValueError("state: is not available in this version")
        return self


class ClassifyParameters(_Request):
    top_k: int | None = Field(None, ge=1, description="So many labels, the best ones; left out: all.")
    function_to_apply: Literal["softmax", "sigmoid", "none"] = Field("softmax", description="How logits become scores.")


class ClassifyRequest(_Request):
    """POST /classify"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "정말 재미있고 감동적인 영화"}]})

    inputs: InputsField
    parameters: ClassifyParameters = Field(default_factory=ClassifyParameters)
    model: ModelField = None


class PrefillToken(_Answer):
    id: int
    text: str


class TokenAnswer(_Answer):
    """logprob: the model's own, in nats, before any sampling option."""

    id: int
    text: str
    logprob: float
    special: bool


class Details(_Answer):
    """unknown_words: words of the prompt that the model does not know; seed: null where nothing was drawn."""

    finish_reason: Literal["length", "eos_token", "stop_sequence"]
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillToken]
    tokens: list[TokenAnswer]
    top_tokens: list[list[TokenAnswer]] | None = None
    unknown_words: list[str]


class GenerateAnswer(_Answer):
    generated_text: str
    details: Details | None = None


class LabelScore(_Answer):
    label: str
    score: float


class ErrorAnswer(_Answer):
    """Every error: a sentence for a person, a word for a program."""

    error: str
    error_type: Literal["validation", "not_found", "method_not_allowed", "too_large", "overloaded", "unavailable", "internal"]


class ModelAnswer(_Answer):
    """What serves, from its manifest."""

    name: str
    version: int
    task: Task
    default: bool
    description: str
    cell: Cell
    layers: int
    directions: int
    hidden: int
    vocabulary: int
    parameters: int
    precision: str
    labels: list[str]
    max_input_words: int
    state_bytes: int
    scores: list[Score]
    trained: str


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


class HealthAnswer(_Answer):
    status: Literal["live", "ready"]


def describe(error: ValidationError) -> InvalidRequest:
    """The first fault as one sentence that names the field."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part)[:100] for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return InvalidRequest(f"the body is not JSON: {message.removeprefix('Invalid JSON: ')}")
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"{field.strip() or repr(field)}: there is no such field")
    if not field:
        return InvalidRequest(message if first["type"] == "value_error" else f"the body: {message}")
    # Our own checks may go on with the place inside the field: parameters + best_of, inputs + [3].
    joint = "" if message.startswith("[") else "." if first["type"] == "value_error" and field == "parameters" else ": "
    return InvalidRequest(f"{field}{joint}{message}")
