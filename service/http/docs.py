"""GET /docs, /redoc and /openapi.json, without any outside host: the page's files come from an installed package."""

import re
from importlib.resources import files
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import from_json, to_json

from service.http import examples
from service.http.completion_requests import CompletionRequest
from service.http.completion_schemas import CompletionError, as_fault, status_of
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
_JSON = "application/json"
_EXAMPLE = "x-example"
_REFERENCE = "#/components/schemas/{model}"
# What the routes read and write themselves.
_READ = [GenerateRequest, ClassifyRequest, PinRequest, HubRequest, PredictRequest, CompletionRequest, InferRequest, TextRequest]
_WRITTEN = [StreamEvent, ErrorAnswer, CompletionError, TextEvent]


class Events(NamedTuple):
    """What a stream is made of. fault: the form of an error in its place; last: what ends the stream, where something does."""

    model: type[BaseModel]
    example: Any
    fault: type[BaseModel] = ErrorAnswer
    last: str | None = None

    def content(self) -> dict[str, Any]:
        """One event, as OpenAPI 3.2 describes them: an object whose data is text, and what that text is."""
        told: dict[str, Any] = {"type": "string", "contentMediaType": _JSON}
        told |= {"contentSchema": {"anyOf": [_reference(self.model), _reference(self.fault)]}}
        if self.last is not None:
            told = {"anyOf": [told, {"const": self.last}]}
        schema = {"type": "object", "properties": {"data": told}, "required": ["data"]}
        return {"text/event-stream": {"schema": schema, **_shown({"data": to_json(self.example).decode()})}}


def operation(
    request: type[BaseModel],
    answers: Any,
    example: Any,
    summary: str,
    told: str = "A list in gives a list out, in order",
    faults: Any = None,
    events: Events | None = None,
) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body itself.

    answers: every form that its answer may have; example: one, to the example of its request; faults: its errors, as errors() tells
    them, where they are not those of every inference; events: where it may also answer with server-sent events.
    """
    content = {_JSON: _shown(example)} | ({} if events is None else events.content())
    answer = {"model": answers, "description": told, "content": content}
    return _describe(request, summary, answer, faults)


def stream(request: type[BaseModel], events: Events, summary: str, faults: Any = None) -> dict[str, Any]:
    """The same of a route that always answers so."""
    told = f"Server-sent events: `data:` and one {events.model.__name__} a word, and where it ends early one ErrorAnswer"
    return _describe(request, summary, {"content": events.content(), "description": told}, faults) | {"response_class": Response}


def change(answer: type[BaseModel], summary: str, request: type[BaseModel] | None = None) -> dict[str, Any]:
    """The same of a route that changes what serves; request: its body, which it reads itself, if it has one."""
    changed = {
        "model": answer,
        "description": "What is wanted and what serves now",
        "content": {_JSON: _shown(examples.CHOICE)},
    }
    body = {} if request is None else {"openapi_extra": {"requestBody": _body(request)}}
    return {"summary": summary, "response_model": None, "responses": {200: changed, **errors(examples.CHANGES)}, **body}


def file(media_type: str, summary: str, example: str | None = None) -> dict[str, Any]:
    """The same of a route that answers with a file of a model."""
    answer = {"content": _text(media_type, example), "description": "The file, or 304 for its tag"}
    responses = {200: answer, **errors(examples.FILES)}
    return {"summary": summary, "response_model": None, "response_class": Response, "responses": responses}


def text(media_type: str, summary: str, example: str) -> dict[str, Any]:
    """The same of a route that answers with text."""
    answer = {"content": _text(media_type, example)}
    return {"summary": summary, "response_model": None, "response_class": Response, "responses": {200: answer}}


def answers(example: Any, faults: examples.Faults | None = None, openai: bool = False) -> dict[int | str, Any]:
    """What a route answers whose own type says the rest."""
    return {200: {"content": {_JSON: _shown(example)}}, **errors(faults or {}, openai)}


def at_path(path: str, described: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a route, with the names in its path."""
    names = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", path)]
    return described | {"openapi_extra": {"parameters": names, **described.get("openapi_extra", {})}}


def errors(faults: examples.Faults, openai: bool = False) -> dict[int | str, Any]:
    """Errors by their status, and what each is told for; openai: in the form that OpenAI's clients know."""
    found: dict[int | str, Any] = {}
    for kind, (told, sentence) in faults.items():
        answer: BaseModel = ErrorAnswer.model_validate({"error": sentence, "error_type": kind.error_type})
        if openai:
            answer = as_fault(kind.error_type, sentence)
        status = status_of(kind.status) if openai else kind.status
        found[status] = {"description": told, "content": _content(type(answer), answer.model_dump())}
    return found


def _describe(request: type[BaseModel], summary: str, answer: dict[str, Any], faults: Any) -> dict[str, Any]:
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: answer, **(faults or errors(examples.STATELESS))},
        "openapi_extra": {"requestBody": _body(request)},
    }


def _body(request: type[BaseModel]) -> dict[str, Any]:
    told: Any = request.model_config.get("json_schema_extra")
    return {"required": True, "content": _content(request, told["examples"][0])}


def _content(model: type[BaseModel], example: Any) -> dict[str, Any]:
    return {_JSON: {"schema": _reference(model), **_shown(example)}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _text(media_type: str, example: str | None) -> dict[str, Any]:
    """example: None of what nobody can read."""
    return {media_type: {"schema": {"type": "string"}} | ({} if example is None else _shown(example))}


def _shown(example: Any) -> dict[str, Any]:
    """As JSON until the document is whole: FastAPI takes every null out of it."""
    return {_EXAMPLE: to_json(example).decode()}


def _show(part: Any) -> None:
    """Puts the examples in, wherever they stand in this part of a document."""
    if isinstance(part, dict) and _EXAMPLE in part:
        part["example"] = from_json(part.pop(_EXAMPLE))
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        _show(child)


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
        _show(document)
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"key": []}]  # whether there are keys, the operator says
        app.openapi_schema = document
    return app.openapi_schema
