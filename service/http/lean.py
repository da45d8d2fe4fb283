"""A route and an answer without what a framework does around them: that takes longer than the rest of the work. Knows no models."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class LeanRoute(APIRoute):
    """A route that reads its body and writes its bytes itself: described in OpenAPI, run without FastAPI's work around it."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **described: Any) -> None:
        super().__init__(path, endpoint, **described)

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive))
            await response(scope, receive, send)

        self.app = run


class Content(NamedTuple):
    """What is answered, in whatever form its client expects; headers: those that belong to this form."""

    body: bytes
    media_type: bytes = b"application/json"
    headers: Mapping[str, str] = {}


class Reply(Response):
    """Ready bytes with ready headers: what starlette does to be helpful takes longer than the rest of the answer."""

    def __init__(self, content: Content, headers: Mapping[str, str]) -> None:
        self.body, self.status_code, self.background = content.body, 200, None
        self.raw_headers = [(name.encode(), value.encode()) for name, value in (*headers.items(), *content.headers.items())]
        self.raw_headers += [(b"content-length", str(len(content.body)).encode()), (b"content-type", content.media_type)]
