"""Errors as answers: one form, whatever ended the request and wherever, and OpenAI's where its clients ask."""

from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from service.errors import InternalError, Overloaded, RequestError, Unauthorized
from service.http.completion_schemas import UNDER, as_fault, status_of
from service.http.exchange import ClientLeft
from service.http.record import LEFT, Record, record_of
from service.http.schemas import ErrorAnswer

_CLIENT_LEFT = 499  # nginx's number for it; nobody reads it but the metrics


def answer_to(error: Exception, record: Record, path: str = "") -> Response:
    """What a client is told of whatever ended its request; path: which it asked for."""
    if isinstance(error, ClientLeft):
        record.outcome = LEFT
        return Response(status_code=_CLIENT_LEFT)
    if not isinstance(error, RequestError):
        error = InternalError("something went wrong here; the log has it under the request id")
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return _refusal(record, path, error.status, error.error_type, str(error), headers)


def unread(status: int, error_type: str, sentence: str, path: str = "", closes: bool = False) -> bytes:
    """All bytes of an answer to a request that was not read, but for further headers, which belong where there is %b."""
    status, content = _told(path, status, error_type, sentence)
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
    head += "retry-after: 1\r\n" * (status == Overloaded.status) + "connection: close\r\n" * closes
    return head.encode() + b"%b\r\n" + content.replace(b"%", b"%%")


def _refusal(
    record: Record, path: str, status: int, error_type: str, sentence: str, headers: dict[str, str] | None = None
) -> Response:
    record.outcome = error_type
    status, content = _told(path, status, error_type, sentence)
    return Response(content, status, headers, media_type="application/json")


def _told(path: str, status: int, error_type: str, sentence: str) -> tuple[int, bytes]:
    """The status and the body, in the form that is known where this path is."""
    told: BaseModel = ErrorAnswer.model_validate({"error": sentence, "error_type": error_type})
    if path.startswith(UNDER):
        told, status = as_fault(error_type, sentence), status_of(status)
    return status, told.model_dump_json().encode()


async def _refuse(request: Request, error: Exception) -> Response:
    return answer_to(error, record_of(request.scope), request.scope["path"])


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, record = request.url.path, record_of(request.scope)
    if error.status_code == 405:
        allowed = _allowed(request, (error.headers or {}).get("Allow", ""))
        told = f"{path} takes {allowed}, not {request.method}"
        return _refusal(record, path, 405, "method_not_allowed", told, {"allow": allowed})
    shorter = path.rstrip("/")
    is_there = _match(request, path=shorter) is not Match.NONE
    told = f"{shorter} is there, without a slash at its end" if is_there else "/docs lists what there is"
    return _refusal(record, path, 404, "not_found", f"there is no {path}; {told}")


def _allowed(request: Request, told: str) -> str:
    """The methods of this path. told: those of the first of its routes, which may not be the only one. HEAD goes with GET."""

    def takes(method: str) -> bool:
        return method in told.split(", ") or _match(request, method=method) is Match.FULL

    return ", ".join({"GET": "GET, HEAD"}.get(method, method) for method in ("GET", "POST") if takes(method))


def _match(request: Request, **instead: str) -> Match:
    """How well the best route fits this request with something else in its place; mounted files, which fit any, aside."""
    asked = {**request.scope, **instead}
    routes = (route for route in request.app.routes if not isinstance(route, Mount))
    best: Match = max((route.matches(asked)[0] for route in routes), key=lambda match: match.value)
    return best


# For the routes that FastAPI finds; what goes straight is answered by the envelope in the same way.
HANDLERS: Any = {HTTPException: _refuse_route, RequestError: _refuse, ClientLeft: _refuse, Exception: _refuse}
