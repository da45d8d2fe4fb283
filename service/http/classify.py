"""POST /classify."""

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from service.http import docs, exchange
from service.http.requests import ClassifyRequest
from service.http.schemas import LabelScore
from service.inference.classifier import Logits, rank
from service.inference.ticket import Ticket
from service.model import Model
from service.registry import Registry
from service.settings import Settings


def classify_routes(settings: Settings, registry: Registry) -> APIRouter:
    router = APIRouter(tags=["inference"], route_class=exchange.LeanRoute)

    answers = list[LabelScore] | list[list[LabelScore]]

    @router.post("/classify", **docs.operation(ClassifyRequest, answers, "Label a text, or every text of a list"))
    async def classify(request: Request) -> Response:
        wanted, ends_s = await exchange.read_request(request, ClassifyRequest, settings)
        exchange.check_inputs(wanted.inputs, settings)
        model, ticket = await exchange.accepted(lambda: _begin(request, wanted))
        function, top_k = wanted.parameters.function_to_apply, wanted.parameters.top_k
        results: list[Logits] = await exchange.answer(request, ticket, ends_s)
        scores = [
            [{"label": label, "score": score} for label, score in rank(row, model.manifest.labels, function, top_k)]
            for row in results
        ]
        return exchange.reply(to_json(scores if wanted.inputs.is_list else scores[0]), model, ticket)

    async def _begin(request: Request, wanted: ClassifyRequest) -> tuple[Model, Ticket[Logits]]:
        model, worker = registry.classifier(wanted.model)
        texts = await exchange.encode(request, model, wanted.inputs, model.reader.read)
        exchange.check_words(wanted.inputs, texts, 0, model)
        return model, worker.submit(texts)

    return router
