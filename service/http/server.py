"""How the application is served: uvicorn with uvloop and httptools, and what it must not do for us."""

from contextlib import suppress
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http.stream import ABORT

GRACE_S = 20  # with the 5 seconds before it, under the 30 that Kubernetes gives


class Connection(HttpToolsProtocol):
    """A connection that a response may cut off. Closing one waits until its client has read everything, which may be never."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[ABORT] = self.transport.abort


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Until a signal ends it."""
    with suppress(KeyboardInterrupt):
        uvicorn.Server(server_config(app, host, port)).run()


def server_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_graceful_shutdown=GRACE_S,
    )
