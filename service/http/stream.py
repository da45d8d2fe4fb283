"""Generations as server-sent events, a word each, while they are written. Knows no model, no options and no form of answers.

The engine never waits for a reader: what a slow one has not taken stays with its sequence, which is bounded by max_new_tokens, and
its row is free as soon as the last word is written. What is sent waits for the reader, until the request's deadline.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from service.errors import InternalError, RequestError
from service.http.answers import Writer
from service.http.exchange import Attended, ClientLeft, notifier
from service.http.record import LEFT, record_of
from service.inference.sequence import Generated, Sequence
from service.inference.ticket import Ticket

ABORT = "seqserve.abort"  # in the scope: a function that ends the connection, whatever was not sent
_KEEP_ALIVE = b": keep-alive\n\n"


class EventStream(Response):
    """The response; it begins with the first word, so that whatever ends the request before still has a status of its own."""

    media_type = "text/event-stream"

    def __init__(
        self,
        request: Request,
        ticket: Ticket[Generated],
        sequences: list[Sequence],
        writer: Writer,
        ends_s: float,
        keep_alive_s: float,
        headers_then: Callable[[], dict[str, str]],
    ) -> None:
        """sequences: one for every result of the ticket; headers_then: asked when the stream begins."""
        super().__init__()
        self._request, self._ticket, self._sequences, self._writer = request, ticket, sequences, writer
        self._ends_s, self._keep_alive_s, self._headers_then = ends_s, keep_alive_s, headers_then
        self._sent = [0] * len(sequences)
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wake = asyncio.Event()
        self._ticket.progress = tell = notifier(wake)
        self._ticket.when_ended(tell)
        with Attended(self._request, self._ticket, self._ends_s, 0.0):
            try:
                # What is written before the deadline may be sent for as long again after it, but not for ever.
                left_s = max(0.0, self._ends_s - time.monotonic())
                async with asyncio.timeout(left_s + max(1.0, left_s)):
                    await self._send_all(send, wake)
            except (TimeoutError, ClientLeft):
                if not self._begun:
                    raise ClientLeft from None
                record_of(scope).outcome = LEFT
                await _cut_off(scope, receive)

    async def _send_all(self, send: Send, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            ended = self._ticket.ended  # asked before the words are looked at: then they are all there
            if ended and self._ticket.future.cancelled():
                raise ClientLeft
            content = self._news(ended)
            if content or ended:
                await self._send(send, content, more=not ended)
            if ended:
                return
            if not await _set_within(wake, self._keep_alive_s):
                await self._send(send, _KEEP_ALIVE, more=True)

    def _news(self, ended: bool) -> bytes:
        """Events of the words that were not sent; the last one of each waits for the end of all, of which it tells."""
        error = self._ticket.future.exception() if ended else None
        if error is not None and not self._begun:
            raise error
        results = self._ticket.future.result() if ended and error is None else None
        events = [event for part in range(len(self._sequences)) for event in self._events(part, results, error is not None)]
        if error is not None:
            told = error if isinstance(error, RequestError) else InternalError("the model failed on this request")
            record_of(self._request.scope).outcome = told.error_type
            events.append(self._writer.fault(told))
        elif ended:
            events.append(self._writer.end())
        return b"".join(events)

    def _events(self, part: int, results: list[Generated] | None, failed: bool) -> Iterator[bytes]:
        """Those of one sequence; results: of all, once they have ended."""
        sequence, sent = self._sequences[part], self._sent[part]
        published = sequence.published
        whole = not failed and sequence.finish_reason is not None
        self._sent[part] = ready = max(sent, published - 1 if whole and results is None else published)
        for index in range(sent, ready):
            last = results[part] if results is not None and index == published - 1 else None
            top = sequence.top_tokens(index) if sequence.options.top_n_tokens else []
            yield self._writer.event(part, index, sequence.token(index), top, last)

    async def _send(self, send: Send, content: bytes, more: bool) -> None:
        if not self._begun:
            self._begun = True
            headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
            pairs = [(name.encode(), value.encode()) for name, value in (headers | self._headers_then()).items()]
            await send({"type": "http.response.start", "status": 200, "headers": pairs})
        await send({"type": "http.response.body", "body": content, "more_body": more})


async def _cut_off(scope: Scope, receive: Receive) -> None:
    """Nobody reads what was begun, so it is never sent to its end."""
    if ABORT in scope:
        scope[ABORT]()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event was set in time, by somebody else."""
    late = []

    def ring() -> None:
        late.append(True)
        event.set()

    timer = asyncio.get_running_loop().call_later(seconds, ring)
    try:
        await event.wait()
        return not late
    finally:
        timer.cancel()
