"""POST /classify."""

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from service.http import docs, exchange
from service.http.schemas import ClassifyRequest, LabelScore
from service.inference.classifier import rank
from service.registry import Registry
from service.settings import Settings

_ONE = TypeAdapter(list[LabelScore])
_MANY = TypeAdapter(list[list[LabelScore]])


def classify_routes(settings: Settings, registry: Registry) -> APIRouter:
    router = APIRouter(tags=["inference"])

    @router.post("/classify", **docs.operation(ClassifyRequest, list[LabelScore], "Label a text, or every text of a list"))
    async def classify(request: Request) -> Response:
        wanted = await exchange.read_request(request, ClassifyRequest, settings)
        exchange.check_inputs(wanted.inputs, settings)
        model, worker = registry.classifier(wanted.model)
        encoded = await exchange.off_loop(
            exchange.is_long(wanted.inputs), lambda: [model.tokenizer.encode(text) for text in wanted.inputs.texts]
        )
        exchange.check_words(wanted.inputs, encoded, 0, model)
        ticket = worker.submit([words.ids for words in encoded])
        parameters, labels = wanted.parameters, model.manifest.labels
        ranked = [
            [
                LabelScore(label=label, score=score)
                for label, score in rank(row, labels, parameters.function_to_apply, parameters.top_k)
            ]
            for row in await exchange.answer(request, ticket)
        ]
        return exchange.reply(_MANY.dump_json(ranked) if wanted.inputs.is_list else _ONE.dump_json(ranked[0]), model, ticket)

    return router
