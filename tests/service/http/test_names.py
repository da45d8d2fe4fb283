"""service.http.names: a fault is told by the client's own names, and stays the fault that it is."""

import pytest

from service.errors import InvalidRequest, Overloaded, RequestError, TooLarge
from service.http.names import told_by
from service.http.requests import GenerateRequest

NAMES = {"inputs": "prompt", "parameters.max_new_tokens": "max_tokens", "parameters.": ""}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("inputs: is empty", "prompt: is empty"),
        ("inputs[3]: is empty, as inputs may not be", "prompt[3]: is empty, as inputs may not be"),
        ("parameters.max_new_tokens: the largest is 5", "max_tokens: the largest is 5"),
        ("parameters.n: the largest is 5", "n: the largest is 5"),
        ("the inputs: are wrong", "the inputs: are wrong"),
    ],
)
def test_only_what_a_sentence_begins_with_is_renamed(ours: str, theirs: str) -> None:
    for kind in (InvalidRequest, TooLarge):
        with pytest.raises(kind) as caught, told_by(NAMES):
            raise kind(ours)
        assert str(caught.value) == theirs


def test_what_else_an_error_says_stays() -> None:
    with pytest.raises(Overloaded) as caught, told_by(NAMES):
        raise Overloaded("try again", retry_after_s=7)
    assert caught.value.retry_after_s == 7


def test_a_request_that_breaks_our_rules_is_a_fault_of_the_client() -> None:
    with pytest.raises(InvalidRequest, match=r"^n: without sampling") as caught, told_by(NAMES):
        GenerateRequest.model_validate({"inputs": "a", "parameters": {"n": 2}})
    assert isinstance(caught.value, RequestError)


def test_what_is_none_of_the_clients_business_passes() -> None:
    with pytest.raises(KeyError), told_by(NAMES):
        raise KeyError("inputs")
