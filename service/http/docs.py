"""GET /docs and /openapi.json, without any outside host: the page's files come from an installed package."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.schemas import ClassifyRequest, ErrorAnswer, GenerateRequest

_ASSETS = "/docs/assets"
_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    404: "No such model",
    413: "Too many inputs, or one that is too long",
    422: "The request is wrong; the sentence names the field",
    429: "The queue is full; Retry-After says when to try again",
    500: "The model failed on this request",
    503: "No model, or shutting down",
}


def operation(request: type[BaseModel], answer: Any, summary: str) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body itself: one answer, or a list of them for a list."""
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model=request.__name__)}}}}
    errors = {status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: {"model": answer | list[answer], "description": "A list in gives a list out, in order"}, **errors},
        "openapi_extra": {"requestBody": body},
    }


def docs_routes(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: API",
            swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_ASSETS}/favicon.png",
        )

    @router.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        return describe_api(app)

    app.mount(_ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-assets")
    return router


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's, and the schemas of the bodies that the routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, requests = models_json_schema(
            [(GenerateRequest, "validation"), (ClassifyRequest, "validation")], ref_template=_REFERENCE
        )
        document["components"]["schemas"] |= requests["$defs"]
        app.openapi_schema = document
    return app.openapi_schema
