"""Cross-origin requests: which pages of other hosts may ask this service from a browser. Knows no routes and no keys.

Cookies mean nothing here: a page may send a key that it has, and gets nothing that its user's browser alone could get.
"""

from starlette.responses import Response
from starlette.types import Scope

from service.http.exchange import header

ANY = "*"
EXPOSED = "x-request-id, x-model, x-queue-time, x-inference-time, x-total-time, retry-after, inference-header-content-length"
_METHODS = "GET, POST"
_KEPT_S = b"600"  # for which a browser need not ask again

Headers = list[tuple[bytes, bytes]]


class Cors:
    """The origins that may ask, and the headers that tell a browser so."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, scope: Scope) -> Headers:
        """What an answer to this request has, an error too, so that the page can read it."""
        if self._any:
            return [(b"access-control-allow-origin", ANY.encode()), (b"access-control-expose-headers", EXPOSED.encode())]
        differs = (b"vary", b"origin")  # also for origins that may not: what is kept for one is not for another
        origin = header(scope, b"origin")
        if origin not in self._origins:
            return [differs]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED.encode()), differs]

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser that asks whether its page may ask; None where this is another request, or it may not.

        Such a question comes without a key, and whatever header the page wants to send is none of our business.
        """
        asked = header(scope, b"access-control-request-method")
        origin = header(scope, b"origin")
        if scope["method"] != "OPTIONS" or asked is None or not (self._any or origin in self._origins):
            return None
        answer = Response(status_code=204)
        answer.raw_headers += [(b"access-control-allow-methods", _METHODS.encode()), (b"access-control-max-age", _KEPT_S)]
        wanted = header(scope, b"access-control-request-headers")
        if wanted is not None:
            answer.raw_headers += [(b"access-control-allow-headers", wanted), (b"vary", b"access-control-request-headers")]
        return answer
