"""Every error that a person or a client can be told, as one tree. Knows no HTTP library: a status is only a number.

SeqserveError
├── SettingsError        the environment asks for what cannot be had; the service does not start
├── ArtifactError        a model folder is refused; the others serve on
└── RequestError         ends one request; carries a status and an error_type
    ├── Unauthorized     401 unauthorized
    ├── Forbidden        403 forbidden
    ├── InvalidRequest   422 validation
    ├── NotFound         404 not_found
    ├── StateMismatch    409 state_mismatch
    ├── TooLarge         413 too_large
    ├── Overloaded       429 overloaded
    ├── Unavailable      503 unavailable
    │   └── Replaced
    ├── DeadlineExceeded 504 deadline
    └── InternalError    500 internal
        └── NoNumbers
"""

from typing import ClassVar


class SeqserveError(Exception):
    """The root; its text is one sentence fit for a person, on one line whatever was quoted in it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class SettingsError(SeqserveError):
    """Settings are wrong or ask for what this machine does not have; faults: a sentence for each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = [" ".join(fault.split()) for fault in faults]


class ArtifactError(SeqserveError):
    """A published model that must not be served, and why."""


class RequestError(SeqserveError):
    """One request ends with this status; the service goes on."""

    status: ClassVar[int] = 500
    error_type: ClassVar[str] = "internal"


class Unauthorized(RequestError):
    """No key, or one that is not known."""

    status = 401
    error_type = "unauthorized"


class Forbidden(RequestError):
    """Nobody may do that here."""

    status = 403
    error_type = "forbidden"


class InvalidRequest(RequestError):
    """The request is wrong; the sentence names the field."""

    status = 422
    error_type = "validation"


class NotFound(RequestError):
    """No such model or route."""

    status = 404
    error_type = "not_found"


class StateMismatch(RequestError):
    """A state of another model, or of another version of this one."""

    status = 409
    error_type = "state_mismatch"


class TooLarge(RequestError):
    """Too many inputs, or one that is too long."""

    status = 413
    error_type = "too_large"


class Overloaded(RequestError):
    """The queue is full; nothing was accepted.

    retry_after_s: whole seconds after which a further try makes sense.
    """

    status = 429
    error_type = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(RequestError):
    """Loading, shutting down, or without any model."""

    status = 503
    error_type = "unavailable"


class Replaced(Unavailable):
    """Another version took the place of the one that was asked before it had accepted anything. Asked anew, the new one answers."""


class DeadlineExceeded(RequestError):
    """The time that the request gave itself, or that it is given here, is over."""

    status = 504
    error_type = "deadline"


class InternalError(RequestError):
    """Our own fault. The cause goes to the log, never to the client."""


class NoNumbers(InternalError):
    """A model computed infinities or what is no number at all: nothing to answer with."""

    def __init__(self) -> None:
        super().__init__("the model's answer has no usable numbers")
