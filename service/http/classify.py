"""POST /classify."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from service.http import attributions, docs, examples, exchange
from service.http.attributions import Omissions
from service.http.lean import Content, LeanRoute
from service.http.requests import ClassifyRequest
from service.http.schemas import DetailedLabels, LabelScore
from service.inference.classifier import Logits, rank
from service.inference.ticket import Ticket
from service.model import Model
from service.registry import Registry
from service.settings import Settings

# Puts the labels of all texts into a client's form; made for a request and the model that answers it, which it may refuse.
LabelWriter = Callable[[list[Any]], Content]
LabelWriterOf = Callable[[ClassifyRequest, Model], LabelWriter]


def _as_asked(wanted: ClassifyRequest, _: Model) -> LabelWriter:
    return lambda told: Content(to_json(told if wanted.inputs.is_list else told[0]))


@dataclass(frozen=True, slots=True)
class Classifications:
    """What every request to classify comes to, whatever the form in which it was asked."""

    settings: Settings
    registry: Registry

    async def respond(
        self, request: Request, wanted: ClassifyRequest, ends_s: float, writer_of: LabelWriterOf = _as_asked
    ) -> Response:
        exchange.check_inputs(wanted.inputs, self.settings)
        if wanted.parameters.details:
            attributions.check_words(wanted.inputs, self.settings.max_inputs)
        model, write, ticket, omissions = await exchange.accepted(lambda: self._begin(request, wanted, writer_of))
        results: list[Logits] = await exchange.answer(request, ticket, ends_s)
        return exchange.reply(write(_answers(wanted, model, results, omissions)), model, ticket)

    async def _begin(
        self, request: Request, wanted: ClassifyRequest, writer_of: LabelWriterOf
    ) -> tuple[Model, LabelWriter, Ticket[Logits], list[Omissions]]:
        model, worker = self.registry.classifier(wanted.model)
        texts = await exchange.encode(request, model, wanted.inputs, model.reader.read)
        exchange.check_words(wanted.inputs, texts, 0, model)
        write = writer_of(wanted, model)
        if not wanted.parameters.details:
            return model, write, worker.submit(texts), []
        # In a thread: the work grows with the square of the words.
        omissions = await exchange.off_loop(
            True, lambda: [attributions.leave_out(text, model.reader) for text in wanted.inputs.texts]
        )
        made = [words for one in omissions for words in one.asked]
        return model, write, worker.submit([*texts, *made], own=len(texts)), omissions


def classify_routes(classifications: Classifications) -> APIRouter:
    router = APIRouter(tags=["inference"], route_class=LeanRoute)

    answers = list[LabelScore] | list[list[LabelScore]] | DetailedLabels | list[DetailedLabels]

    summary = "Label a text, or every text of a list"

    @router.post("/classify", **docs.operation(ClassifyRequest, answers, examples.LABELLED, summary))
    async def classify(request: Request) -> Response:
        wanted, ends_s = await exchange.read_request(request, ClassifyRequest, classifications.settings)
        return await classifications.respond(request, wanted, ends_s)

    return router


def _answers(wanted: ClassifyRequest, model: Model, results: list[Logits], omissions: list[Omissions]) -> list[Any]:
    """An answer a text: its labels, and with details its words as well; their results come after those of all texts."""
    labels, function, top_k = model.manifest.labels, wanted.parameters.function_to_apply, wanted.parameters.top_k
    count = len(wanted.inputs.texts)
    scores = [[{"label": label, "score": score} for label, score in rank(row, labels, function, top_k)] for row in results[:count]]
    if not wanted.parameters.details:
        return scores
    rest: Iterator[Logits] = iter(results[count:])
    words = [one.attributions(row, rest, labels, function) for one, row in zip(omissions, results[:count], strict=True)]
    return [{"labels": best, "details": {"attributions": told}} for best, told in zip(scores, words, strict=True)]
