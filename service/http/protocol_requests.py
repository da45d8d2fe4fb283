"""What clients of the Open Inference Protocol may ask, and what it comes to in our own words. Knows no routes."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.errors import InvalidRequest
from service.http.requests import AS_CLIENTS_SEND, ClassifyRequest, GenerateRequest, StrictModel
from service.http.tensors import check_shape, texts_of_bytes, texts_of_json

INPUT = "text_input"
NAMES = {"inputs": INPUT}  # what the core calls by another name, where a sentence begins with it


class InputParameters(StrictModel):
    binary_data_size: int | None = Field(None, ge=0, description="So many bytes after the JSON are this tensor.")


class InferInput(StrictModel):
    """shape: [texts], or [texts, 1]. data: the texts, flat or row by row."""

    name: Literal["text_input"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=1, max_length=2)
    parameters: InputParameters = Field(default_factory=InputParameters)
    data: Any = None


class OutputParameters(StrictModel):
    binary_data: bool | None = Field(None, description="Whether it comes as bytes after the JSON.")


class InferOutput(StrictModel):
    name: str
    parameters: OutputParameters = Field(default_factory=OutputParameters)


class InferParameters(BaseModel):
    """Beside these, the parameters of /generate or /classify, as the model does; max_tokens is max_new_tokens."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    binary_data_output: bool = Field(False, description="Outputs that do not say otherwise come as bytes after the JSON.")
    timeout: int | None = Field(None, gt=0, lt=2**63, description="Microseconds after which the request ends with 504.")


class InferRequest(StrictModel):
    """POST /v2/models/{name}/infer"""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1], "data": ["정말 재미있고 감동적인 영화"]}]}]
        },
    )

    id: str | None = Field(None, max_length=200, description="Comes back in the answer.")
    model_name: str | None = Field(None, description="As in the address.")
    inputs: list[InferInput] = Field(min_length=1, max_length=1)
    outputs: list[InferOutput] = Field(default_factory=list, description="Which, in this order; left out: all.")
    parameters: InferParameters = Field(default_factory=InferParameters)

    @property
    def options(self) -> dict[str, Any]:
        """The parameters that are the model's."""
        return self.parameters.model_extra or {}

    def texts(self, raw: bytes) -> list[str]:
        """raw: what follows the JSON. Raises InvalidRequest."""
        given = self.inputs[0]
        size = given.parameters.binary_data_size
        if len(raw) != (size or 0):
            raise InvalidRequest(f"{INPUT}: says that {size or 0} bytes follow the JSON, and {len(raw)} do")
        if size is not None and given.data is not None:
            raise InvalidRequest(f"{INPUT}: has data, and says that it follows the JSON")
        texts = texts_of_json(INPUT, given.data) if size is None else texts_of_bytes(INPUT, raw)
        check_shape(INPUT, given.shape, len(texts))
        if not texts:
            raise InvalidRequest(f"{INPUT}: has no text")
        return texts


class TextRequest(StrictModel):
    """POST /v2/models/{name}/generate and /generate_stream"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text_input": "영화가 정말", "parameters": {"max_tokens": 3}}]})

    id: str | None = Field(None, max_length=200, description="Comes back in the answer.")
    text_input: str
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="As of /generate; max_tokens is max_new_tokens, temperature 0 draws nothing; stream is as the address says.",
    )

    def options(self, stream: bool) -> dict[str, Any]:
        """The parameters that are the model's. Raises InvalidRequest where they ask for another address."""
        if self.parameters.get("stream", stream) is not stream:
            raise InvalidRequest("parameters.stream: /generate_stream streams, and /generate does not")
        return {name: value for name, value in self.parameters.items() if name != "stream"}


def to_classify(model: str, texts: list[str], options: dict[str, Any]) -> ClassifyRequest:
    """Raises ValidationError, or InvalidRequest for what has no tensor."""
    _refuse(options, ("details",))
    return ClassifyRequest.model_validate({"inputs": texts, "model": model, "parameters": options})


def to_generate(model: str, inputs: str | list[str], options: dict[str, Any], not_here: tuple[str, ...]) -> GenerateRequest:
    """not_here: options whose results have no place in the answer. Raises ValidationError or InvalidRequest."""
    _refuse(options, not_here)
    ours = dict(options)
    if "max_tokens" in ours:
        if "max_new_tokens" in ours:
            raise InvalidRequest("parameters.max_tokens: is max_new_tokens, which is there too")
        ours["max_new_tokens"] = ours.pop("max_tokens")
    if type(ours.get("temperature")) in (int, float) and not ours["temperature"]:
        if ours.get("do_sample"):
            raise InvalidRequest("parameters.temperature: 0 draws nothing, and do_sample asks for drawing")
        ours |= {"temperature": None, "do_sample": False}
    if isinstance(ours.get("stop"), str):
        ours["stop"] = [ours["stop"]]  # parameters of this protocol are no lists
    return GenerateRequest.model_validate({"inputs": inputs, "model": model, "parameters": ours}, context=AS_CLIENTS_SEND)


def _refuse(options: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if options.get(name):
            raise InvalidRequest(f"parameters.{name}: has no place in this answer; /generate and /classify have it")
