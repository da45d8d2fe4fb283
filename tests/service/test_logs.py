"""service.logs: one line an event, for a machine or for a person, and whose request it was."""

import json
import logging
import sys
from typing import Any

import pytest

from service.logs import REQUEST_ID, formatter
from service.settings import Settings


@pytest.fixture
def of_request() -> Any:
    token = REQUEST_ID.set("an-id")
    yield
    REQUEST_ID.reset(token)


def line(message: str, *arguments: object, is_terminal: bool = False, log_format: str = "auto", **fields: object) -> str:
    """What is written for one warning."""
    record = logging.getLogger("service.part").makeRecord(
        "service.part",
        logging.WARNING,
        __file__,
        1,
        message,
        arguments,
        sys.exc_info() if sys.exc_info()[0] else None,
        extra=fields,
    )
    return formatter(Settings(log_format=log_format), is_terminal).format(record)


def test_elsewhere_than_at_a_terminal_an_event_is_a_json_object_on_a_line_of_its_own() -> None:
    written = line("모델 %s\nis refused", "가/1", outcome="refused", seconds=0.5)
    assert "\n" not in written
    assert "모델" in written
    told = json.loads(written)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "모델 가/1\nis refused",
        "level": "warning",
        "logger": "service.part",
        "outcome": "refused",
        "seconds": 0.5,
    }


def test_at_a_terminal_it_is_a_line_to_read() -> None:
    written = line("it is so", is_terminal=True, seconds=0.5)
    assert not written.startswith("{")
    assert "it is so" in written
    assert "0.5" in written


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_is_asked_for_is_written_wherever_it_goes(is_terminal: bool) -> None:
    assert json.loads(line("so", is_terminal=is_terminal, log_format="json"))["event"] == "so"
    assert not line("so", is_terminal=is_terminal, log_format="console").startswith("{")


@pytest.mark.usefixtures("of_request")
def test_what_is_logged_while_a_request_is_answered_has_its_id() -> None:
    assert json.loads(line("so"))["request_id"] == "an-id"


def test_what_belongs_to_no_request_has_no_id() -> None:
    assert "request_id" not in json.loads(line("so"))


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_is_written_with_its_traceback_and_without_the_values_of_variables(log_format: str) -> None:
    secret = "the key of somebody"
    try:
        raise ValueError("it broke")
    except ValueError:
        written = line("so", log_format=log_format)
    assert "it broke" in written
    assert "Traceback" in written
    assert secret not in written
