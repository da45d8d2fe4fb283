"""What clients of the Hugging Face hub and its servers of models may ask, and which task it is for. Knows no routes.

At / they name neither model nor task, so the task is told by the fields that they send: both tasks have some of their own.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from service.artifact import Task
from service.http.requests import (
    AS_CLIENTS_SEND,
    INPUTS_SCHEMA,
    ClassifyParameters,
    ClassifyRequest,
    GenerateParameters,
    GenerateRequest,
    InputsField,
    ModelField,
    OnlyFalse,
    StrictModel,
    describe,
)
from service.registry import Registry

_OF_GENERATE = GenerateParameters.model_fields.keys() - ClassifyParameters.model_fields.keys()
_OF_CLASSIFY = ClassifyParameters.model_fields.keys() - GenerateParameters.model_fields.keys()
# Options that text-generation-inference has and we have not: what its clients send for them where they are off says nothing.
_NOT_OURS = ("watermark", "grammar", "adapter_id")
_REFERENCES = [{"$ref": f"#/components/schemas/{of.__name__}"} for of in (GenerateParameters, ClassifyParameters)]
_TEXT = {"type": "string", "minLength": 1}
_PARAMETERS_SCHEMA = {"anyOf": [*_REFERENCES, {"type": "null"}]}


class HubRequest(StrictModel):
    """POST / and /models/{name}: what /generate or /classify take."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "영화가 정말"}]})

    inputs: Annotated[Any, WithJsonSchema(INPUTS_SCHEMA)]
    parameters: Annotated[dict[str, Any] | None, WithJsonSchema(_PARAMETERS_SCHEMA)] = None
    stream: bool | None = Field(None, description="Answer with server-sent events, a word each.")
    state: str | None = Field(None, description="What return_state gave: goes on from there.")
    model: ModelField = None

    def to_generate(self) -> GenerateRequest:
        """Raises InvalidRequest."""
        ours = {name: value for name, value in (self.parameters or {}).items() if value or name not in _NOT_OURS}
        fields = {"inputs": self.inputs, "model": self.model, "state": self.state, "stream": bool(self.stream), "parameters": ours}
        try:
            return GenerateRequest.model_validate(fields, context=AS_CLIENTS_SEND)
        except ValidationError as error:
            raise describe(error) from None

    def to_classify(self) -> ClassifyRequest:
        """Raises InvalidRequest."""
        told = {name: value for name in ("stream", "state") if (value := getattr(self, name))}
        try:
            return ClassifyRequest.model_validate(
                {"inputs": self.inputs, "model": self.model, "parameters": self.parameters or {}, **told}
            )
        except ValidationError as error:
            raise describe(error) from None


def _read_alone(value: Any) -> Any:
    """Texts in a list of their own, as clients of TEI send a batch, since it takes two texts of one list for a pair."""
    if not isinstance(value, list):
        return value
    for index, text in enumerate(value):
        if isinstance(text, list) and len(text) != 1:
            raise ValueError(f"[{index}]: must be a text, or a list of one; pairs are not labelled")
    return [text[0] if isinstance(text, list) else text for text in value]


_ALONE = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1}]}
_PREDICT_SCHEMA = {
    "anyOf": [_TEXT, {"type": "array", "items": _ALONE, "minItems": 1}],
    "description": "A text or a list of texts, each of which may be in a list of its own; a list is always a batch, never a pair.",
}


class PredictRequest(StrictModel):
    """POST /predict: a text or a list of them, never a pair."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "정말 재미있고 감동적인 영화"}]})

    inputs: Annotated[InputsField, BeforeValidator(_read_alone), WithJsonSchema(_PREDICT_SCHEMA)]
    parameters: ClassifyParameters | None = Field(None, description="Where they are sent, one text too is answered with a list.")
    raw_scores: bool = Field(False, description="Logits as scores; goes without parameters.")
    truncate: OnlyFalse = Field(False, description="What is too long is refused, never cut.")
    model: ModelField = None

    @model_validator(mode="after")
    def _consistent(self) -> "PredictRequest":
        if self.raw_scores and self.parameters is not None:
            raise ValueError("raw_scores: goes without parameters, whose function_to_apply says the same")
        return self

    def to_classify(self) -> ClassifyRequest:
        parameters = self.parameters or ClassifyParameters(function_to_apply="none" if self.raw_scores else "softmax")
        return ClassifyRequest.model_construct(inputs=self.inputs, parameters=parameters, model=self.model)


def task_of(asked: HubRequest, registry: Registry, either: Task) -> Task:
    """What is asked for: what the named model does, else what the fields are for, else what alone is served, else either."""
    named = registry.models.get(asked.model or "")
    if named is not None:
        return named.manifest.task
    given = (asked.parameters or {}).keys()
    if asked.stream is not None or asked.state is not None or given & _OF_GENERATE:
        return "generate"
    if given & _OF_CLASSIFY:
        return "classify"
    served = {model.manifest.task for model in registry.models.values()}
    return served.pop() if len(served) == 1 else either
