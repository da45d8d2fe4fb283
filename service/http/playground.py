"""GET / and its files: a page to try the service with. Off where SEQSERVE_PLAYGROUND says so.

The files are read once, at the start. The page asks for nothing but what is under its own address, and runs nothing but its files.
"""

from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from service.http.etag import is_known, tag_of

FILES = "/playground/"
PAGE = "page.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# blob: is what the page makes of the pictures of a model's card, for which it may have to show a key.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "cache-control": "no-cache",  # kept, and asked for again with its tag: a new version of the service is seen at once
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        """The file, or that the client has it already."""
        headers = {**_HEADERS, "etag": self.tag}
        if is_known(request, self.tag):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def playground_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    assets = read_assets()
    for name, asset in assets.items():
        _serve(router, FILES + name, asset)
    _serve(router, "/", assets[PAGE])
    return router


def read_assets() -> dict[str, Asset]:
    """All files of the page, by their names."""
    found = {}
    for file in (files("service.http") / "static").iterdir():
        content = file.read_bytes()
        found[file.name] = Asset(content, _TYPES[file.name.rpartition(".")[2]], tag_of(content))
    return found


def _serve(router: APIRouter, path: str, asset: Asset) -> None:
    async def file(request: Request) -> Response:
        return asset.answer(request)

    router.add_route(path, file, methods=["GET"])  # and HEAD, which starlette adds
