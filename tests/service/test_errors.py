"""service.errors: one tree, and what a client may rely on in it."""

import re
from typing import get_args

import pytest

from service import errors
from service.errors import (
    ArtifactError,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestError,
    SeqserveError,
    SettingsError,
    StateMismatch,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from service.http.schemas import ErrorAnswer

STATUSES: dict[type[RequestError], tuple[int, str]] = {
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    InvalidRequest: (422, "validation"),
    NotFound: (404, "not_found"),
    StateMismatch: (409, "state_mismatch"),
    TooLarge: (413, "too_large"),
    Overloaded: (429, "overloaded"),
    Unavailable: (503, "unavailable"),
    DeadlineExceeded: (504, "deadline"),
    InternalError: (500, "internal"),
}


def test_every_request_error_has_the_status_and_word_that_clients_were_promised() -> None:
    assert {error: (error.status, error.error_type) for error in RequestError.__subclasses__()} == STATUSES


@pytest.mark.parametrize("error", [SettingsError, ArtifactError, RequestError, *STATUSES])
def test_one_except_clause_catches_every_error_that_a_person_is_told(error: type[SeqserveError]) -> None:
    with pytest.raises(SeqserveError, match="^a sentence$"):
        raise error("a sentence")


def test_several_settings_that_are_wrong_are_one_error_with_a_line_each() -> None:
    error = SettingsError("one\nthing", "another")
    assert str(error) == "one thing; another"
    assert error.faults == ["one thing", "another"]


def test_the_drawn_tree_names_every_error_with_its_status_and_word() -> None:
    drawn = re.findall(r"── (\w+) +(\d{3}) (\w+)$", errors.__doc__ or "", re.MULTILINE)
    assert {(name, int(status), word) for name, status, word in drawn} == {
        (error.__name__, *told) for error, told in STATUSES.items()
    }


def test_every_word_of_the_tree_is_in_the_schema_of_answers() -> None:
    words = set(get_args(ErrorAnswer.model_fields["error_type"].annotation))
    assert words == {word for _, word in STATUSES.values()} | {"method_not_allowed"}


def test_an_overloaded_service_says_when_to_come_back() -> None:
    assert Overloaded("full").retry_after_s >= 1
    assert Overloaded("full", retry_after_s=7).retry_after_s == 7
