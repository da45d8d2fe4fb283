"""GET /docs, /redoc and /openapi.json, without any outside host: the page's files come from an installed package."""

import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.completion_requests import CompletionRequest
from service.http.completion_schemas import CompletionError
from service.http.hub_requests import HubRequest, PredictRequest
from service.http.protocol_requests import InferRequest, TextRequest
from service.http.protocol_schemas import TextEvent
from service.http.requests import ClassifyRequest, GenerateRequest, PinRequest
from service.http.schemas import ErrorAnswer, StreamEvent

ASSETS = "/docs/assets"
# Both pages have a script of their own inside, and Redoc would fetch a picture of its makers from their host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:"
)
_REFERENCE = "#/components/schemas/{model}"
ERRORS = {
    401: "No API key, where keys are set",
    404: "No such model",
    409: "A state of another model",
    413: "Too many inputs, or one that is too long",
    422: "The request is wrong; the sentence names the field",
    429: "The queue is full; Retry-After says when to try again",
    500: "The model failed on this request",
    503: "No model, or shutting down",
    504: "It took longer than it may (header x-request-timeout, in seconds, or the service's own limit)",
}
# What the routes read and write themselves.
_READ = [GenerateRequest, ClassifyRequest, PinRequest, HubRequest, PredictRequest, CompletionRequest, InferRequest, TextRequest]
_WRITTEN = [StreamEvent, ErrorAnswer, CompletionError, TextEvent]
_CHANGE_ERRORS = {
    401: "No admin key",
    403: "No admin keys are set",
    404: "No such model, or no such version",
    422: "The version is refused; the sentence says why",
    503: "The folder cannot be read, or shutting down",
}


class _Events(Response):
    media_type = "text/event-stream"


def operation(
    request: type[BaseModel],
    answers: Any,
    summary: str,
    told: str = "A list in gives a list out, in order",
    faults: Any = None,
    event: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body itself.

    answers: every form that its answer may have; faults: how its errors are told, where it is not as ever; event: where it may also
    answer with server-sent events.
    """
    events = {} if event is None else {"content": _events(event)}
    return _describe(request, summary, {"model": answers, "description": told, **events}, faults)


def stream(request: type[BaseModel], event: type[BaseModel], summary: str) -> dict[str, Any]:
    """The same of a route that always answers so."""
    described = f"Server-sent events: `data:` and one {event.__name__} a word, and where it ends early one ErrorAnswer"
    return _describe(request, summary, {"content": _events(event), "description": described}) | {"response_class": _Events}


def change(answer: type[BaseModel], summary: str, request: type[BaseModel] | None = None) -> dict[str, Any]:
    """The same of a route that changes what serves; request: its body, which it reads itself, if it has one."""
    responses: dict[int, Any] = {200: {"model": answer, "description": "What is wanted and what serves now"}}
    body = {} if request is None else {"openapi_extra": {"requestBody": {"required": True, "content": _content(request)}}}
    return {"summary": summary, "response_model": None, "responses": responses | errors(_CHANGE_ERRORS), **body}


def file(media_type: str, summary: str) -> dict[str, Any]:
    """The same of a route that answers with a file of a model."""
    answer = {"content": {media_type: {"schema": {"type": "string"}}}, "description": "The file, or 304 for its tag"}
    faults = errors({401: ERRORS[401], 404: "No such model serves, or it has no such file"})
    return {"summary": summary, "response_model": None, "response_class": Response, "responses": {200: answer, **faults}}


def at_path(path: str, described: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a route, with the names in its path."""
    names = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", path)]
    return described | {"openapi_extra": {"parameters": names, **described.get("openapi_extra", {})}}


def _describe(request: type[BaseModel], summary: str, answer: dict[str, Any], faults: Any = None) -> dict[str, Any]:
    body = {"required": True, "content": _content(request)}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: answer, **(faults or errors(ERRORS))},
        "openapi_extra": {"requestBody": body},
    }


def errors(told: dict[int, str], form: type[BaseModel] = ErrorAnswer) -> dict[int | str, Any]:
    """Errors by their status, and what each is told for."""
    return {status: {"content": _content(form), "description": text} for status, text in told.items()}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(model)}}


def _events(event: type[BaseModel]) -> dict[str, Any]:
    """One event, as OpenAPI 3.2 describes them: an object whose data is text, and what that text is."""
    told: dict[str, Any] = {"type": "string", "contentMediaType": "application/json"}
    told |= {"contentSchema": {"anyOf": [_reference(event), _reference(ErrorAnswer)]}}
    return {_Events.media_type: {"schema": {"type": "object", "properties": {"data": told}, "required": ["data"]}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def docs_routes(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: API",
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
        )
        return _at_home(page)

    @router.get("/redoc")
    async def redoc(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        page = get_redoc_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: API",
            redoc_js_url=f"{root}{ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        return _at_home(page)

    @router.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        return describe_api(app)

    app.mount(ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-assets")
    return router


def _at_home(page: Response) -> Response:
    """A page that asks no other host for anything."""
    page.headers["content-security-policy"] = _POLICY
    return page


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's, and the schemas of the bodies that the routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        bodies: Any = [*((asked, "validation") for asked in _READ), *((told, "serialization") for told in _WRITTEN)]
        _, requests = models_json_schema(bodies, ref_template=_REFERENCE)
        document["components"]["schemas"] |= requests["$defs"]
        app.openapi_schema = document
    return app.openapi_schema
