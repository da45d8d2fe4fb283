"""POST /v2/models/...: other forms of /generate and /classify, as clients of the Open Inference Protocol (version 2) know them.

That is KServe's and Triton's, with its extensions for tensors as bytes and for texts.
"""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from service.errors import InvalidRequest
from service.http import docs, examples, exchange
from service.http.classify import Classifications, LabelWriter
from service.http.docs import Events
from service.http.generate import Generations, streamed
from service.http.names import told_by
from service.http.protocol_answers import InferAuthor, Outputs, TextAuthor
from service.http.protocol_metadata import MODEL_PATHS, address_of, check_version, serving
from service.http.protocol_requests import NAMES, InferRequest, TextRequest, to_classify, to_generate
from service.http.protocol_schemas import InferAnswer, TextAnswer, TextEvent
from service.http.record import record_of
from service.http.requests import ClassifyRequest, GenerateRequest
from service.http.tensors import JSON_BYTES
from service.inference.bookmark import Seal
from service.model import Model
from service.text import Encoded


@dataclass(frozen=True, slots=True)
class Protocol:
    """What the routes have in common."""

    generations: Generations
    classifications: Classifications

    async def infer(self, request: Request, name: str, version: str | None) -> Response:
        body, ends_s = await exchange.read_body(request, self.generations.settings)
        head = _json_bytes(request, len(body))
        asked = exchange.read_json(InferRequest, body[:head])
        if asked.model_name not in (None, name):
            raise InvalidRequest(f"model_name: the address asks for {name!r}")
        texts = await exchange.off_loop(len(body) > exchange.LONG_CHARACTERS, lambda: asked.texts(body[head:]))
        if asked.parameters.timeout is not None:
            ends_s = min(ends_s, record_of(request.scope).began_s + asked.parameters.timeout / 1e6)
        with told_by(NAMES):
            if serving(self.generations.registry, name, version).manifest.task == "classify":
                return await self._label(request, asked, to_classify(name, texts, asked.options), ends_s, version)
            wanted = to_generate(name, texts, asked.options, ("details", "decoder_input_details", "top_n_tokens", "return_state"))
            return await self._write(request, asked, wanted, ends_s, version)

    async def generate(self, request: Request, name: str, version: str | None, stream: bool) -> Response:
        asked, ends_s = await exchange.read_request(request, TextRequest, self.generations.settings)

        def author(wanted: GenerateRequest, model: Model, prompts: list[Encoded], seal: Seal) -> TextAuthor:
            check_version(model, version)
            return TextAuthor(wanted, model, prompts, seal, asked.id)

        with told_by(NAMES):
            wanted = to_generate(name, asked.text_input, asked.options(stream), ("n", "return_state"))
            return await self.generations.respond(request, streamed(wanted) if stream else wanted, ends_s, author)

    async def _label(
        self, request: Request, asked: InferRequest, wanted: ClassifyRequest, ends_s: float, version: str | None
    ) -> Response:
        def writer(_: ClassifyRequest, model: Model) -> LabelWriter:
            return _outputs(asked, model, version).labels

        return await self.classifications.respond(request, wanted, ends_s, writer)

    async def _write(
        self, request: Request, asked: InferRequest, wanted: GenerateRequest, ends_s: float, version: str | None
    ) -> Response:
        def author(wanted: GenerateRequest, model: Model, prompts: list[Encoded], seal: Seal) -> InferAuthor:
            return InferAuthor(wanted, model, prompts, seal, _outputs(asked, model, version))

        return await self.generations.respond(request, wanted, ends_s, author)


def _outputs(asked: InferRequest, model: Model, version: str | None) -> Outputs:
    """Raises NotFound or InvalidRequest where the model cannot give what is asked for."""
    check_version(model, version)
    outputs = Outputs(asked, model)
    outputs.check()
    return outputs


MOST_DIGITS = 20  # of a number of bytes; thousands of them are refused by int() itself


def _json_bytes(request: Request, size: int) -> int:
    """How much of a body of so many bytes is JSON. Raises InvalidRequest."""
    told = exchange.header(request.scope, JSON_BYTES.encode())
    if told is None:
        return size
    if not told.isdigit() or len(told) > MOST_DIGITS or int(told) > size:
        raise InvalidRequest(f"{JSON_BYTES}: must be a number of bytes, and no more than the {size} of the body")
    return int(told)


def protocol_routes(generations: Generations, classifications: Classifications) -> APIRouter:
    router, protocol = APIRouter(tags=["Open Inference Protocol"]), Protocol(generations, classifications)

    async def infer(request: Request) -> Response:
        return await protocol.infer(request, *address_of(request))

    async def generate(request: Request) -> Response:
        return await protocol.generate(request, *address_of(request), stream=False)

    async def generate_stream(request: Request) -> Response:
        return await protocol.generate(request, *address_of(request), stream=True)

    told = f"Tensors as JSON, or as bytes after it ({JSON_BYTES})"
    inferred = docs.operation(InferRequest, InferAnswer, examples.INFERRED, "Continue or label the texts of a tensor", told)
    written = docs.operation(TextRequest, TextAnswer, examples.WRITTEN, "Continue a text", "The text")
    events = docs.stream(TextRequest, Events(TextEvent, examples.WRITTEN_EVENT), "Continue a text, a server-sent event a word")
    for path in MODEL_PATHS:
        router.add_api_route(f"{path}/infer", infer, methods=["POST"], **docs.at_path(path, inferred))
        router.add_api_route(f"{path}/generate", generate, methods=["POST"], **docs.at_path(path, written))
        router.add_api_route(f"{path}/generate_stream", generate_stream, methods=["POST"], **docs.at_path(path, events))
    return router
