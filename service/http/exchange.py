"""What every inference route does around its work: read the body, check limits, wait for the answer, write it with its headers."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.errors import InvalidRequest, TooLarge
from service.http.schemas import Inputs, describe
from service.inference.ticket import Ticket
from service.registry import Model
from service.settings import Settings
from service.text import Encoded

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")

LONG_CHARACTERS = 5_000  # about 2 ms of tokenising


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def read_request(request: Request, schema: type[R], settings: Settings) -> R:
    """The body as schema. Raises TooLarge before it is read whole, InvalidRequest with a sentence that names the field."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > settings.max_body_bytes:
                raise TooLarge(f"the body has more than {settings.max_body_bytes} bytes")
    except ClientDisconnect:
        raise ClientLeft from None
    try:
        return schema.model_validate_json(bytes(body))
    except ValidationError as error:
        raise describe(error) from None


def check_inputs(inputs: Inputs, settings: Settings) -> None:
    """Raises TooLarge for too many texts or one that is too long to be looked at."""
    if len(inputs.texts) > settings.max_inputs:
        raise TooLarge(f"inputs: {len(inputs.texts)} texts are more than the {settings.max_inputs} of one request")
    for index, text in enumerate(inputs.texts):
        if len(text) > settings.max_input_characters:
            raise TooLarge(f"{place(inputs, index)}: {len(text)} characters are more than {settings.max_input_characters}")


async def off_loop(is_long: bool, work: Callable[[], T]) -> T:
    """What work gives; in a thread where it is so long that other requests would notice."""
    return await run_in_threadpool(work) if is_long else work()


def is_long(inputs: Inputs) -> bool:
    """Whether tokenising takes long."""
    return sum(map(len, inputs.texts)) > LONG_CHARACTERS


def check_words(inputs: Inputs, encoded: list[Encoded], texts_only: int, model: Model) -> None:
    """Raises InvalidRequest for a text without any word, TooLarge for one with too many.

    texts_only: how many of the ids of an empty text there are, which say nothing.
    """
    limit = model.manifest.limits.max_input_words
    for index, words in enumerate(encoded):
        count = len(words.ids) - texts_only
        if count == 0:
            raise InvalidRequest(f"{place(inputs, index)}: has no word that {model.manifest.name} reads")
        if count > limit:
            raise TooLarge(f"{place(inputs, index)}: {count} words are more than the {limit} of {model.manifest.name}")


def place(inputs: Inputs, index: int) -> str:
    """What a client calls a text."""
    return f"inputs[{index}]" if inputs.is_list else "inputs"


async def answer(request: Request, ticket: Ticket[T]) -> list[T]:
    """The results of all parts. Raises what the request ended with, or ClientLeft, and then its rows are free within a step."""
    future = asyncio.wrap_future(ticket.future)
    leaving = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((future, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ClientLeft
        return future.result()
    finally:
        # However this ends, nothing goes on unseen: cancelling what has ended does nothing.
        future.cancel()
        leaving.cancel()


def reply(content: bytes, model: Model, ticket: Ticket[T]) -> Response:
    """The answer's bytes; all that differs from one time to the next is in the headers."""
    headers = {
        "x-model": model.label,
        "x-queue-time": f"{ticket.queue_s:.6f}",
        "x-inference-time": f"{ticket.inference_s:.6f}",
    }
    return Response(content, media_type="application/json", headers=headers)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
