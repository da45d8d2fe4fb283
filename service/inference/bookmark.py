"""Where a generation stopped, as a value that a client may keep and send to any replica that serves the same model.

Owns the sealed form: bytes that are signed, so that nobody feeds a model a state of his own making, and that name the model, so
that no other one goes on from them. Knows no HTTP and no batches.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from service.artifact import Manifest
from service.errors import InvalidRequest, StateMismatch
from service.inference.runtime import State

_MAGIC = b"seqserve-state-1"
_MAC_BYTES = 32
_IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything that the next word depends on.

    state: (layers, 1, hidden) each, after all words but the last; pending: that last word, which the model has yet to read;
    position: words drawn so far, by which random numbers go on; seed: None where nothing was drawn; history: how often each word
    stands, for penalties; tail: the end of the text so far, in which a stop sequence may have begun.
    """

    state: State
    pending: int
    position: int = 0
    seed: int | None = None
    history: Mapping[int, int] = field(default_factory=dict)
    tail: str = ""


class Seal:
    """Turns bookmarks into text and back, with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, bookmark: Bookmark, manifest: Manifest) -> str:
        """The bookmark as URL-safe text, readable by whoever has it, changeable by nobody."""
        rest = [bookmark.pending, bookmark.position, bookmark.seed, list(bookmark.history.items()), bookmark.tail]
        words = json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode()
        tensors = b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in bookmark.state)
        content = _MAGIC + manifest.identity + len(words).to_bytes(4, "little") + words + tensors
        return base64.urlsafe_b64encode(content + self._mac(content)).decode()

    def open(self, text: str, manifest: Manifest) -> Bookmark:
        """What close() was given. Raises InvalidRequest where it was changed, StateMismatch where it is of another model."""
        try:
            sealed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidRequest("state: is none that this service gave") from None
        if base64.urlsafe_b64encode(sealed).decode() != text:
            raise InvalidRequest("state: is none that this service gave")  # bits that stand for nothing were changed
        content, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
        if not content.startswith(_MAGIC):
            raise InvalidRequest("state: is none that this service gave")
        if not hmac.compare_digest(mac, self._mac(content)):
            raise InvalidRequest(
                "state: was changed or cut short, or signed with another key (SEQSERVE_STATE_KEY must be the same on every replica)"
            )
        content = content[len(_MAGIC) :]
        if content[:_IDENTITY_BYTES] != manifest.identity:
            raise StateMismatch(f"state: is not of {manifest.name}/{manifest.version}; begin anew with inputs")
        return _unpack(content[_IDENTITY_BYTES:], manifest)

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)


def _unpack(content: bytes, manifest: Manifest) -> Bookmark:
    """What follows the signature and the model, both of which are right."""
    count = int.from_bytes(content[:4], "little")
    pending, position, seed, history, tail = json.loads(content[4 : 4 + count])
    shape = (len(manifest.state), manifest.layers, 1, manifest.sizes.hidden)
    parts = np.frombuffer(content[4 + count :], "<f4").astype(np.float32).reshape(shape)
    return Bookmark(tuple(parts), pending, position, seed, dict(history), tail)
