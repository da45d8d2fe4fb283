"""What may be asked, with every bound that does not depend on a setting. Knows no routes.

Field names follow Text Generation Inference and Text Embeddings Inference. Unknown fields are refused, types are not bent, and no
option is accepted and ignored.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from service.errors import InvalidRequest
from service.inference.sequence import MAX_STOP_CHARACTERS

MANY_FAULTS = 100  # to put more into words takes longer than to find them, and all are put into words for the first


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
        if not isinstance(text, str):
            raise ValueError(f"{f'[{index}]: ' if isinstance(value, list) else ''}must be a text")
    return Inputs(texts, isinstance(value, list))


def _refuse_empty(inputs: Inputs) -> Inputs:
    for index, text in enumerate(inputs.texts):
        if not text.strip():
            raise ValueError(f"{f'[{index}]: ' if inputs.is_list else ''}is empty")
    return inputs


INPUTS_SCHEMA = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}],
    "description": "A text or a list of texts; a list is always a batch, answered in order.",
}
MaybeEmptyInputs = Annotated[Inputs, BeforeValidator(_read_inputs), WithJsonSchema(INPUTS_SCHEMA)]
InputsField = Annotated[MaybeEmptyInputs, AfterValidator(_refuse_empty)]
ModelField = Annotated[str | None, Field(max_length=100, description="A name of GET /models; left out: the default one.")]


class StrictModel(BaseModel):
    """A body, or a part of one: no unknown field, no bent type, no number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def _refuse_zero(value: Any) -> Any:
    if value is not False:
        raise ValueError("must be false")
    return value


# To Python 0 is as good as False.
OnlyFalse = Annotated[Literal[False], BeforeValidator(_refuse_zero), WithJsonSchema({"type": "boolean", "const": False})]


# The context in which requests of clients are read that always send how to draw, and a seed, also where nothing is drawn.
AS_CLIENTS_SEND = {"options without effect": "are no fault"}


class GenerateParameters(StrictModel):
    """How to continue. Without any: greedily, up to max_new_tokens."""

    max_new_tokens: int = Field(
        20, ge=0, description="Words to write at the most; 0, with details: only tell how likely the prompt's words are."
    )
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
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**64,
        description="Same seed, same words; left out, one is drawn and told in details. Of several answers the next has seed + 1.",
    )
    stop: list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]] = Field(
        default_factory=list, max_length=8, description="The text ends with the first of these that it comes to."
    )
    return_full_text: bool = Field(False, description="Put the prompt before the answer.")
    truncate: int | None = Field(None, ge=1, description="Read only the last so many words of the prompt.")
    n: int | None = Field(None, ge=1, description="Give so many answers, as a list.")
    best_of: int | None = Field(None, ge=1, description="Draw so many answers and give the likeliest, or the n likeliest.")
    top_n_tokens: int | None = Field(
        None, ge=1, le=20, description="With details: the likeliest words at every step, the prompt's where it is scored."
    )
    details: bool = Field(False, description="Tell why it ended, every word's log-probability, and the unknown words.")
    decoder_input_details: bool = Field(False, description="With details: how likely every word of the prompt is.")
    return_state: bool = Field(False, description="Give a state, with which a later request goes on from here, on any replica.")

    @property
    def candidates(self) -> int:
        """Answers to be drawn for every input."""
        return max(self.n or 1, self.best_of or 1)

    @property
    def scores_prompt(self) -> bool:
        return self.decoder_input_details or (self.details and not self.max_new_tokens)

    @property
    def tells_prompt(self) -> bool:
        return self.details or self.return_full_text

    @property
    def samples(self) -> bool:
        options = (self.temperature, self.top_k, self.top_p, self.typical_p)
        return any(option is not None for option in options) if self.do_sample is None else self.do_sample

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> "GenerateParameters":
        if info.context is not AS_CLIENTS_SEND:
            self._check_effects()
        for name in ("n", "best_of"):
            if (getattr(self, name) or 1) > 1 and not self.samples:
                raise ValueError(f"{name}: without sampling all answers would be the same; set do_sample")
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise ValueError("best_of: cannot be less than n")
        if not self.max_new_tokens:
            self._check_nothing_written()
        if self.top_n_tokens is not None and not self.details:
            raise ValueError("top_n_tokens: is told in details; set details")
        if self.decoder_input_details and not self.details:
            raise ValueError("decoder_input_details: is told in details; set details")
        return self

    def _check_effects(self) -> None:
        if self.do_sample is False:
            for name in ("temperature", "top_k", "top_p", "typical_p"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: has no effect with do_sample false; leave one of them out")
        if self.seed is not None and not self.samples:
            raise ValueError("seed: has no effect on a greedy answer; set do_sample or leave it out")

    def _check_nothing_written(self) -> None:
        if not self.details and not self.return_state:
            raise ValueError("max_new_tokens: 0 writes nothing; set details to score the prompt, or return_state")
        for name in ("do_sample", "stop", "repetition_penalty", "frequency_penalty"):
            if getattr(self, name) or (name == "do_sample" and self.samples):
                raise ValueError(f"{name}: has no effect where max_new_tokens is 0; leave it out")


class GenerateRequest(StrictModel):
    """POST /generate"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": "영화가 정말", "parameters": {"max_new_tokens": 3, "details": True}}]}
    )

    inputs: MaybeEmptyInputs
    parameters: GenerateParameters = Field(default_factory=GenerateParameters)
    stream: bool = Field(False, description="Answer with server-sent events, a word each.")
    state: str | None = Field(
        None, description="What return_state gave: goes on from there. inputs, one text and perhaps an empty one, is read after it."
    )
    model: ModelField = None

    @model_validator(mode="after")
    def _consistent(self) -> "GenerateRequest":
        if self.state is None:
            try:
                _refuse_empty(self.inputs)
            except ValueError as error:
                raise ValueError(f"inputs{'' if self.inputs.is_list else ': '}{error}") from None
        elif self.inputs.is_list:
            raise ValueError("state: goes with one text, not with a list")
        if self.stream:
            self.check_stream()
        return self

    def check_stream(self) -> None:
        """Raises ValueError where this cannot be answered as a stream."""
        if self.inputs.is_list:
            raise ValueError("stream: takes one text, not a list")
        for name in ("n", "best_of"):
            if (getattr(self.parameters, name) or 1) > 1:
                raise ValueError(f"parameters.{name}: there is one answer to a stream")
        if not self.parameters.max_new_tokens:
            raise ValueError("parameters.max_new_tokens: a stream has at least one word")


class ClassifyParameters(StrictModel):
    top_k: int | None = Field(None, ge=1, description="So many labels, the best ones; left out: all.")
    function_to_apply: Literal["softmax", "sigmoid", "none"] = Field("softmax", description="How logits become scores.")
    details: bool = Field(
        False,
        description="Tell what every word does to the best label. A text of so many words then counts as so many inputs and one.",
    )


class ClassifyRequest(StrictModel):
    """POST /classify"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "정말 재미있고 감동적인 영화"}]})

    inputs: InputsField
    parameters: ClassifyParameters = Field(default_factory=ClassifyParameters)
    model: ModelField = None


class PinRequest(BaseModel):
    """Which version of a model is to serve."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"version": 2}]})

    version: int = Field(ge=1, le=999_999_999)


def describe(error: ValidationError) -> InvalidRequest:
    """The first fault as one sentence that names the field."""
    if error.error_count() > MANY_FAULTS:
        return InvalidRequest(f"the body has {error.error_count()} faults")
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
