"""GET /models/{name}/card and the pictures beside it: what training published for people to look at, and nothing else of a folder.

A file is what the manifest says it is, by its hash, or it is not there.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from service import artifact
from service.errors import NotFound
from service.http import docs, examples
from service.http.etag import is_known, tag
from service.registry import Registry
from service.settings import Settings


class File(NamedTuple):
    """A file of a model's folder, and what it is."""

    name: str
    media_type: str
    summary: str


PLOTS = [
    File("curves.png", "image/png", "How its loss fell while it learnt"),
    File("confusion.png", "image/png", "Which labels it takes for which"),
    File("calibration.png", "image/png", "How often it is right where it is so sure"),
]
_PATH = "/models/{name}"
_CARD = File(artifact.CARD, "text/markdown", "The model card: what it learnt from, how, and how well")


def card_routes(settings: Settings, registry: Registry) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    def sender(file: File) -> Callable[[Request], Awaitable[Response]]:
        async def send(request: Request) -> Response:
            name = request.path_params["name"]
            model = registry.models.get(name)
            digest = None if model is None else model.manifest.files.get(file.name)
            if model is None or digest is None:
                raise NotFound(f"there is no {file.name} of a model {name!r} that serves")
            headers = {"etag": tag(digest), "cache-control": "no-cache", "x-content-type-options": "nosniff"}
            if is_known(request, headers["etag"]):
                return Response(status_code=304, headers=headers)
            content = await run_in_threadpool(_read, settings.models / model.label / file.name, digest)
            return Response(content, headers=headers, media_type=file.media_type)

        return send

    described = docs.file(_CARD.media_type, _CARD.summary, examples.CARD)
    router.add_api_route(f"{_PATH}/card", sender(_CARD), **docs.at_path(_PATH, described))
    for plot in PLOTS:
        described = docs.file(plot.media_type, plot.summary)
        router.add_api_route(f"{_PATH}/{plot.name}", sender(plot), **docs.at_path(_PATH, described))
    return router


def _read(path: Path, digest: str) -> bytes:
    """Raises NotFound where the file is not the one that was published."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if artifact.sha256(content) != digest:
        raise NotFound(f"{path.name} of {path.parent.parent.name} is not there any more, or not what it was")
    return content
