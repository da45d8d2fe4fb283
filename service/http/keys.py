"""API keys: who may ask, and who may change what serves. Knows no routes.

Keys are kept as SHA-256 digests and every one of them is compared, in constant time: how long it takes tells nothing of any.
"""

import hashlib
import hmac
import logging
import re
from pathlib import Path

from pydantic import SecretStr
from starlette.types import Scope

from service.errors import Forbidden, SettingsError, Unauthorized
from service.http.exchange import header
from service.settings import Settings

log = logging.getLogger(__name__)

SHORTEST_KEY = 16  # characters
_PRINTABLE = re.compile(r"[!-~]+")


class KeyRing:
    """The keys of one kind, from a setting and from a file, which is read anew when it has changed."""

    def __init__(self, name: str, given: SecretStr | None, file: Path | None) -> None:
        """name: the setting's. Raises SettingsError, which shows no key."""
        self._name, self._file = name, file
        self._given = _digests(name, given.get_secret_value().split(",")) if given is not None else frozenset()
        self._read = frozenset[bytes]()
        self._stamp: tuple[int, int] | None = None
        if file is not None:
            try:
                self._read_file(file)
            except OSError as error:
                raise SettingsError(f"{name}_FILE={file}: cannot be read: {error.strerror or error}") from error

    @property
    def empty(self) -> bool:
        return not self._given and not self._read

    def refresh(self) -> None:
        """Looks whether the file has changed. One that cannot be read, or is wrong, changes nothing."""
        try:
            if self._file is not None:
                self._read_file(self._file)
        except (OSError, SettingsError) as error:
            log.warning("%s_FILE: the keys that were read before stay: %s", self._name, error)

    def holds(self, key: bytes) -> bool:
        digest = hashlib.sha256(key).digest()
        return sum(hmac.compare_digest(digest, known) for known in (*self._given, *self._read)) > 0

    def _read_file(self, file: Path) -> None:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            lines = file.read_text(encoding="utf-8").splitlines()
            found = _digests(f"{self._name}_FILE", [line for line in lines if not line.lstrip().startswith("#")])
            if not found:
                raise SettingsError(f"{self._name}_FILE={file}: holds no key")
            self._read, self._stamp = found, stamp


class Keys:
    """Both rings. Without any API key everyone may ask; without any admin key nobody may change anything."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self._api = KeyRing("SEQSERVE_API_KEYS", settings.api_keys, settings.api_keys_file)
        self._admin = KeyRing("SEQSERVE_ADMIN_KEYS", settings.admin_keys, settings.admin_keys_file)

    def refresh(self) -> None:
        self._api.refresh()
        self._admin.refresh()

    def check(self, scope: Scope) -> None:
        """Raises Unauthorized where the request has no key that is good for asking."""
        if self._api.empty:
            return
        key = _bearer(scope)
        # Both are looked through, whichever holds it.
        if key is None or not any([self._api.holds(key), self._admin.holds(key)]):
            raise Unauthorized("this needs a key: authorization: Bearer KEY")

    def check_admin(self, scope: Scope) -> None:
        """Raises Unauthorized or Forbidden where the request has no admin key."""
        if self._admin.empty:
            raise Forbidden("SEQSERVE_ADMIN_KEYS is not set: what serves is changed by the settings and the models folder alone")
        key = _bearer(scope)
        if key is None or not self._admin.holds(key):
            raise Unauthorized("this needs an admin key: authorization: Bearer KEY")


def _bearer(scope: Scope) -> bytes | None:
    scheme, _, key = (header(scope, b"authorization") or b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" and key else None


def _digests(name: str, keys: list[str]) -> frozenset[bytes]:
    found = [key.strip() for key in keys if key.strip()]
    for place, key in enumerate(found, 1):
        if len(key) < SHORTEST_KEY or not _PRINTABLE.fullmatch(key):
            raise SettingsError(f"{name}: key {place} must have {SHORTEST_KEY} characters or more, of ASCII and without spaces")
    return frozenset(hashlib.sha256(key.encode()).digest() for key in found)
