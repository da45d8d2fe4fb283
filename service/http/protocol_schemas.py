"""What clients of the Open Inference Protocol (version 2) are answered, as OpenAPI tells it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.http.schemas import Details, StreamDetails


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class LiveAnswer(_Told):
    live: bool


class ReadyAnswer(_Told):
    ready: bool


class ModelReadyAnswer(_Told):
    name: str
    ready: bool


class ServerAnswer(_Told):
    name: str
    version: str
    extensions: list[str]


class TensorAnswer(_Told):
    """-1 in a shape: any number."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]


class MetadataAnswer(_Told):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorAnswer]
    outputs: list[TensorAnswer]


class OutputAnswer(TensorAnswer):
    """data: row by row; in its place, parameters with binary_data_size where the values come as bytes after the JSON."""

    data: list[str] | list[float] | None = None
    parameters: dict[str, int] | None = None


class InferAnswer(_Told):
    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[OutputAnswer]


class TextAnswer(_Told):
    """details: where parameters.details asked for them."""

    id: str | None = None
    model_name: str
    model_version: str
    text_output: str
    details: Details | None = None


class TextEvent(_Told):
    """One server-sent event, after `data:`; its text_output is what one word adds."""

    id: str | None = None
    model_name: str
    model_version: str
    text_output: str
    done: bool
    details: StreamDetails | None = None


INPUT = TensorAnswer(name="text_input", datatype="BYTES", shape=[-1])
# By what a model does.
OUTPUTS: dict[str, list[TensorAnswer]] = {
    "generate": [TensorAnswer(name="text_output", datatype="BYTES", shape=[-1])],
    "classify": [
        TensorAnswer(name="labels", datatype="BYTES", shape=[-1, -1]),
        TensorAnswer(name="scores", datatype="FP32", shape=[-1, -1]),
    ],
}
