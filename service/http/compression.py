"""Large answers packed with gzip for clients that ask for it (Accept-Encoding). Knows no routes and no models.

Small ones and streams go as they are, and nothing of their requests is looked at.
"""

import re
import zlib

from starlette.types import Message, Scope

from service.http.exchange import header, off_loop

# Bytes: what TCP sends before it waits for anybody (ten packets, RFC 6928). Fewer arrive no sooner for being packed.
SMALLEST = 14_000
LONG_BYTES = 200_000  # about 1 ms of packing
_TYPES = (b"application/json", b"application/octet-stream", b"text/", b"image/svg+xml")  # others, as pictures, are packed already
_ENCODINGS = re.compile(rb"(?:^|,)\s*(gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?=,|$)", re.IGNORECASE)


class Packer:
    """What follows one start of an answer."""

    def __init__(self) -> None:
        # The fastest level: the others take three times as long for a tenth less.
        self._gzip = zlib.compressobj(1, wbits=31)

    async def pack(self, message: Message) -> Message:
        body, more = message.get("body", b""), message.get("more_body", False)
        return {**message, "body": await off_loop(len(body) > LONG_BYTES, lambda: self._pack(body, more))}

    def _pack(self, body: bytes, more: bool) -> bytes:
        packed = self._gzip.compress(body)
        return packed if more else packed + self._gzip.flush()


def packer(scope: Scope, start: Message) -> Packer | None:
    """What packs the answer that starts so, whose headers then tell of it; None where it goes as it is."""
    headers = dict(start["headers"])
    if int(headers.get(b"content-length", 0)) < SMALLEST or start["status"] != 200:
        return None
    if not headers.get(b"content-type", b"").startswith(_TYPES):
        return None
    start["headers"] = kept = [*start["headers"], (b"vary", b"accept-encoding")]
    # HTTP/1.0 has no way to send what has no length yet.
    if scope["http_version"] == "1.0" or not takes_gzip(header(scope, b"accept-encoding")):
        return None
    # A tag that is weak: other bytes of the same content.
    weak = {b"etag": b"W/" + headers.get(b"etag", b"").removeprefix(b"W/")}
    start["headers"] = [(name, weak.get(name, value)) for name, value in kept if name != b"content-length"]
    start["headers"].append((b"content-encoding", b"gzip"))
    return Packer()


def takes_gzip(accepted: bytes | None) -> bool:
    """Whether a client says so (RFC 9110, section 12.5.3): what is named counts before `*`, and q=0 is a no."""
    named = {found[1].lower(): found[2] for found in _ENCODINGS.finditer(accepted or b"")}
    quality = named.get(b"gzip", named.get(b"*", b"0"))
    return quality is None or quality.strip(b"0.") != b""
