"""What every inference route does around its work: read the body, check limits, wait for the answer, write it with its headers."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from service.errors import DeadlineExceeded, InvalidRequest, Overloaded, Replaced, TooLarge
from service.http.lean import Content, Reply
from service.http.record import record_of
from service.http.requests import Inputs, describe
from service.inference.ticket import Ticket
from service.model import Model
from service.settings import Settings
from service.text import Encoded
from service.words import Words

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")

ARRIVING_BYTES = 32_000_000  # of bodies that are not all there yet
LONG_CHARACTERS = 5_000  # about 2 ms of tokenising
WATCH_AFTER_S = 0.02  # most answers are gone by then, and nobody need have watched whether their clients are still there


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def read_request(request: Request, schema: type[R], settings: Settings) -> tuple[R, float]:
    """The body as schema, and when the request must have ended, monotonic. Raises what read_body and read_json do."""
    body, ends_s = await read_body(request, settings)
    return read_json(schema, body), ends_s


async def read_body(request: Request, settings: Settings) -> tuple[bytes, float]:
    """The body, and when the request must have ended, monotonic.

    Raises DeadlineExceeded where the body is not there by then, TooLarge before it is read whole, InvalidRequest for one that is
    packed.
    """
    ends_s = deadline(request, settings)
    if header(request.scope, b"content-encoding") not in (None, b"", b"identity"):
        raise InvalidRequest("content-encoding: a body is read as it is; send it without")
    try:
        async with asyncio.timeout(min(ends_s - time.monotonic(), settings.read_timeout_s)):
            return await _read_body(request, settings.max_body_bytes), ends_s
    except TimeoutError:
        raise DeadlineExceeded("the body of the request did not come in time") from None


def read_json(schema: type[R], body: bytes) -> R:
    """The body as schema. Raises InvalidRequest with a sentence that names the field."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise describe(error) from None


class Arriving:
    """Bytes of all bodies that are not all there yet: who sends slowly, a thousand at a time, must not fill the memory."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int, most: int) -> None:
        """Raises Overloaded where there are too many already."""
        if self.bytes + count > most:
            raise Overloaded("too many bodies of requests are on their way; try again in 1 s")
        self.bytes += count


_arriving = Arriving()


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body, taken = bytearray(), 0
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            body += message.get("body", b"")
            if len(body) > max_bytes:
                raise TooLarge(f"the body has more than {max_bytes} bytes")
            if not message.get("more_body", False):
                return bytes(body)
            _arriving.take(len(body) - taken, max(ARRIVING_BYTES, max_bytes))
            taken = len(body)
    finally:
        _arriving.bytes -= taken


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a header, by its small letters."""
    for given, value in scope["headers"]:
        if given == name:
            return bytes(value)
    return None


def deadline(request: Request, settings: Settings) -> float:
    """When the request must have ended, monotonic. Raises InvalidRequest where x-request-timeout is no number of seconds.

    Raises DeadlineExceeded where it is over already: nothing is begun that cannot be answered.
    """
    seconds = settings.request_timeout_s
    if (asked := header(request.scope, b"x-request-timeout")) is not None:
        seconds = min(seconds, _seconds(asked))
    ends_s = record_of(request.scope).began_s + seconds
    if ends_s <= time.monotonic():
        raise DeadlineExceeded(f"the {seconds:g} s of this request were over before it began")
    return ends_s


def check_inputs(inputs: Inputs, settings: Settings) -> None:
    """Raises TooLarge for too many texts or one that is too long to be looked at."""
    if len(inputs.texts) > settings.max_inputs:
        raise TooLarge(f"inputs: {len(inputs.texts)} texts are more than the {settings.max_inputs} of one request")
    for index, text in enumerate(inputs.texts):
        if len(text) > settings.max_input_characters:
            raise TooLarge(f"{place(inputs, index)}: {len(text)} characters are more than {settings.max_input_characters}")


async def accepted(begin: Callable[[], Awaitable[T]]) -> T:
    """What begin gives, which looks a model up and has it accept a request; anew where meanwhile another version took its place."""
    while True:
        with suppress(Replaced):
            return await begin()


async def off_loop(is_long: bool, work: Callable[[], T]) -> T:
    """What work gives; in a thread where it is so long that other requests would notice."""
    return await run_in_threadpool(work) if is_long else work()


async def encode(request: Request, model: Model, inputs: Inputs, read: Callable[[str], T]) -> list[T]:
    """What read makes of every text."""
    record, began_s = record_of(request.scope), time.monotonic()
    record.model = model.manifest.name
    is_long = sum(map(len, inputs.texts)) > LONG_CHARACTERS
    encoded = await off_loop(is_long, lambda: [read(text) for text in inputs.texts])
    record.encode_began_s, record.encode_s = began_s, time.monotonic() - began_s
    return encoded


def check_words(inputs: Inputs, encoded: Sequence[Encoded | Words], texts_only: int, model: Model) -> None:
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


async def answer(request: Request, ticket: Ticket[T], ends_s: float) -> list[T]:
    """The results of all parts. Raises what the request ended with, or ClientLeft, and then its rows are free within a step."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    ticket.when_ended(lambda: _call_soon(loop, _resolve, ended))
    with Attended(request, ticket, ends_s, WATCH_AFTER_S):
        await ended
    if ticket.future.cancelled():
        raise ClientLeft
    return ticket.future.result()


class Attended:
    """Meanwhile the ticket ends at its deadline, or when its client leaves; afterwards it has ended, however this is left."""

    def __init__(self, request: Request, ticket: Ticket[T], ends_s: float, watch_after_s: float) -> None:
        self._request, self._ticket, self._ends_s, self._watch_after_s = request, ticket, ends_s, watch_after_s
        self._watcher: asyncio.Task[None] | None = None
        record_of(request.scope).ticket = ticket

    def __enter__(self) -> None:
        first_s = min(self._watch_after_s, self._ends_s - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(max(0.0, first_s), self._look)

    def __exit__(self, *_: object) -> None:
        self._ticket.leave()  # what has ended stays as it ended
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _look(self) -> None:
        """It takes longer than most: from now on both are watched."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._ends_s - time.monotonic()), _expire, self._ticket)
        self._watcher = loop.create_task(_until_gone(self._request, self._ticket))


def notifier(wake: asyncio.Event) -> Callable[[], None]:
    """A function for other threads that sets the event in this loop."""
    loop = asyncio.get_running_loop()
    return lambda: _call_soon(loop, wake.set)


def headers(model: Model, ticket: Ticket[T]) -> dict[str, str]:
    """All that differs from one time to the next."""
    return {
        "x-model": model.label,
        "x-queue-time": f"{ticket.queue_s:.6f}",
        "x-inference-time": f"{ticket.inference_s:.6f}",
    }


def reply(content: Content, model: Model, ticket: Ticket[T]) -> Response:
    """The answer with its headers."""
    return Reply(content, headers(model, ticket))


def _seconds(text: bytes) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # so written, it refuses what is no number too
        raise InvalidRequest("x-request-timeout: must be a number of seconds")
    return seconds


def _expire(ticket: Ticket[T]) -> None:
    ticket.fail(DeadlineExceeded("the request took longer than it may (x-request-timeout, SEQSERVE_REQUEST_TIMEOUT_S)"))


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop has closed: nobody is left to be told
        loop.call_soon_threadsafe(callback, *arguments)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _until_gone(request: Request, ticket: Ticket[T]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ticket.leave()
