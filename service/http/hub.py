"""POST /, /models/{name} and /predict: other forms of /generate and /classify, as clients of the Hugging Face hub know them."""

from dataclasses import dataclass
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from service.errors import InvalidRequest
from service.http import docs, examples, exchange
from service.http.classify import Classifications
from service.http.docs import Events
from service.http.generate import Generations
from service.http.hub_requests import HubRequest, PredictRequest, task_of
from service.http.lean import LeanRoute
from service.http.names import told_by
from service.http.requests import ClassifyRequest, GenerateRequest, Inputs
from service.http.schemas import DetailedLabels, GenerateAnswer, LabelScore, StreamEvent

Wanted = TypeVar("Wanted", GenerateRequest, ClassifyRequest)


@dataclass(frozen=True, slots=True)
class Hub:
    """What the routes have in common: whatever comes in, a list goes out, with an answer a text."""

    generations: Generations
    classifications: Classifications

    async def respond(self, request: Request, asked: HubRequest, ends_s: float) -> Response:
        if task_of(asked, self.generations.registry, self.generations.settings.root_task) == "classify":
            return await self.label(request, asked.to_classify(), ends_s)
        wanted = asked.to_generate()
        with told_by(_names(wanted.inputs)):
            return await self.generations.respond(request, _as_list(wanted), ends_s)

    async def label(self, request: Request, wanted: ClassifyRequest, ends_s: float) -> Response:
        with told_by(_names(wanted.inputs)):
            return await self.classifications.respond(request, _as_list(wanted), ends_s)


def hub_routes(generations: Generations, classifications: Classifications) -> APIRouter:
    router, settings = APIRouter(tags=["Hugging Face"], route_class=LeanRoute), generations.settings
    hub = Hub(generations, classifications)
    labels = list[list[LabelScore]] | list[DetailedLabels]
    either = list[GenerateAnswer] | list[list[GenerateAnswer]] | labels
    faults, events = docs.errors(examples.ERRORS), Events(StreamEvent, examples.EVENT)
    told = "A list with an answer a text, also of one"
    summary = "Continue or label texts: what the fields are for"

    @router.post("/", **docs.operation(HubRequest, either, examples.LISTED, summary, told, faults, events))
    async def root(request: Request) -> Response:
        return await hub.respond(request, *await exchange.read_request(request, HubRequest, settings))

    async def model(request: Request, name: str) -> Response:
        asked, ends_s = await exchange.read_request(request, HubRequest, settings)
        if asked.model not in (None, name):
            raise InvalidRequest(f"model: the address asks for {name!r}")
        return await hub.respond(request, asked.model_copy(update={"model": name}), ends_s)

    described = docs.operation(
        HubRequest, either, examples.LISTED, "Continue or label texts: what the model does", told, faults, events
    )
    router.add_api_route("/models/{name}", model, methods=["POST"], route_class_override=APIRoute, **described)

    summary = "Label a text, or every text of a list, as /classify"

    @router.post("/predict", **docs.operation(PredictRequest, list[LabelScore] | labels, examples.LABELLED, summary))
    async def predict(request: Request) -> Response:
        asked, ends_s = await exchange.read_request(request, PredictRequest, settings)
        if asked.parameters is None:
            return await classifications.respond(request, asked.to_classify(), ends_s)
        return await hub.label(request, asked.to_classify(), ends_s)

    return router


def _as_list(wanted: Wanted) -> Wanted:
    """The same, to be answered with a list whatever came in."""
    return wanted.model_copy(update={"inputs": Inputs(wanted.inputs.texts, is_list=True)})


def _names(inputs: Inputs) -> dict[str, str]:
    return {} if inputs.is_list else {"inputs[0]": "inputs"}
