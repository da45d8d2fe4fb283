"""What OpenAI's clients are answered under /v1, as OpenAPI tells it."""

import re
from typing import Literal

from pydantic import BaseModel

UNDER = "/v1/"  # where every error has this form

_STATUS = {422: 400}  # by which these clients know that a request is wrong
_TYPES = {"overloaded": "rate_limit_error", "internal": "server_error", "unavailable": "server_error", "deadline": "server_error"}
_CODES = {"unauthorized": "invalid_api_key", "overloaded": "rate_limit_exceeded"}
_PARAM = re.compile(r"([a-z_]+)[\[.:]")


class Logprobs(BaseModel):
    """text_offset: where each word begins in the text; top_logprobs: of the likeliest words and the one that stands there."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(BaseModel):
    """seed: what was drawn with, so that the same can be asked for again; null where nothing was drawn, or it is still written."""

    text: str
    index: int
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None
    seed: int | None


class Usage(BaseModel):
    """completion_tokens: of all that was drawn for best_of, and with the end of a sentence."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """Also every event of a stream, after `data: `. system_fingerprint: name and version of the model."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None


class CompletionModel(BaseModel):
    """created: when it was trained, in seconds since 1970."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class CompletionModels(BaseModel):
    object: Literal["list"]
    data: list[CompletionModel]


class CompletionFault(BaseModel):
    """param: the field that is wrong, where it is one; code: the error_type of other routes, or OpenAI's word for it."""

    message: str
    type: str
    param: str | None
    code: str


class CompletionError(BaseModel):
    error: CompletionFault


def as_fault(error_type: str, sentence: str) -> CompletionError:
    """An error of ours in OpenAI's form."""
    found = _PARAM.match(sentence)
    return CompletionError(
        error=CompletionFault(
            message=sentence,
            type=_TYPES.get(error_type, "invalid_request_error"),
            param=found[1] if found else None,
            code="model_not_found" if error_type == "not_found" and found else _CODES.get(error_type, error_type),
        )
    )


def status_of(status: int) -> int:
    return _STATUS.get(status, status)
