"""Entity tags: what a client has already is not sent again."""

import hashlib

from fastapi import Request

from service.http.exchange import header


def tag_of(content: bytes) -> str:
    """The same for the same bytes, wherever they are served."""
    return tag(hashlib.sha256(content).hexdigest())


def tag(digest: str) -> str:
    return f'"{digest[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has what this tag stands for (If-None-Match)."""
    known = (header(request.scope, b"if-none-match") or b"").decode("latin-1")
    return known.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in known.split(","))
