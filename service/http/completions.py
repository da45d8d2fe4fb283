"""POST /v1/completions and GET /v1/models, as OpenAI's clients know them: another form of what /generate does."""

from contextlib import suppress
from datetime import datetime
from functools import partial

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.http import docs, examples, exchange
from service.http.completion_answers import CompletionWriter
from service.http.completion_requests import NAMES, CompletionRequest, read_ids
from service.http.completion_schemas import Completion, CompletionError, CompletionModel, CompletionModels
from service.http.docs import Events
from service.http.generate import Generations, encode_prompt
from service.http.lean import LeanRoute
from service.http.names import told_by
from service.http.record import record_of
from service.http.requests import GenerateRequest
from service.inference.bookmark import Seal
from service.model import Model
from service.registry import Registry
from service.text import Encoded


def completion_routes(generations: Generations) -> APIRouter:
    router, settings = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=LeanRoute), generations.settings

    summary = "Continue a text, or every text of a list, as OpenAI's clients ask for it"
    told = "Or, where `stream` is asked for, server-sent events: `data: ` and a Completion each, at the end `data: [DONE]`"

    faults, events = (
        docs.errors(examples.STATELESS, openai=True),
        Events(Completion, examples.COMPLETION_EVENT, CompletionError, "[DONE]"),
    )

    @router.post(
        "/completions", **docs.operation(CompletionRequest, Completion, examples.COMPLETION, summary, told, faults, events)
    )
    async def completions(request: Request) -> Response:
        asked, ends_s = await exchange.read_request(request, CompletionRequest, settings)

        def writer_of(wanted: GenerateRequest, model: Model, prompts: list[Encoded], _: Seal) -> CompletionWriter:
            return CompletionWriter(f"cmpl-{record_of(request.scope).id}", asked, wanted, model, prompts)

        read_of = (lambda tokenizer: partial(read_ids, tokenizer)) if asked.prompt.are_ids else encode_prompt
        with told_by(NAMES):
            return await generations.respond(request, asked.in_our_words(settings.max_new_tokens), ends_s, writer_of, read_of)

    return router


def completion_model_routes(registry: Registry) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])

    listed = {"object": "list", "data": [examples.COMPLETION_MODEL]}

    @router.get(
        "/v1/models", summary="The models that continue texts", responses=docs.answers(listed, examples.READING, openai=True)
    )
    async def models() -> CompletionModels:
        return CompletionModels(object="list", data=[_describe(model) for model in _completing(registry)])

    async def model(request: Request) -> CompletionModel:
        found = {model.manifest.name: model for model in _completing(registry)}
        name = request.path_params["name"]
        if name not in found:
            raise NotFound(f"model: there is no {name!r}; there are {', '.join(found) or 'none'}")
        return _describe(found[name])

    path, summary = "/v1/models/{name}", "One of the models that continue texts"
    answers = docs.answers(examples.COMPLETION_MODEL, examples.READING_ONE, openai=True)
    router.add_api_route(path, model, **docs.at_path(path, {"summary": summary, "responses": answers}))
    return router


def _completing(registry: Registry) -> list[Model]:
    return [model for model in registry.models.values() if model.manifest.task == "generate"]


def _describe(model: Model) -> CompletionModel:
    trained_s = 0
    with suppress(ValueError):  # a manifest's own words
        trained_s = int(datetime.fromisoformat(model.manifest.training.created).timestamp())
    return CompletionModel(id=model.manifest.name, object="model", created=trained_s, owned_by="seqserve")
