"""service.http.cors: pages of other hosts ask only where that is wished, and then read errors too."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests.service.http.ask import PROMPT, refusal
from tests.service.http.test_keys import KEY, bearer

FRIEND, OTHER, STRANGER = "https://friend.example", "http://localhost:3000", "https://stranger.example"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type,x-stainless-os"}
TOLD = "x-request-id, x-model, x-queue-time, x-inference-time, x-total-time, retry-after, inference-header-content-length"


def clients(settings: Settings, **update: Any) -> TestClient:
    return TestClient(create_app(Settings.model_validate(settings.model_dump(exclude_unset=True) | update)))


@pytest.fixture(scope="module")
def friendly(service_settings: Settings) -> Iterator[TestClient]:
    with clients(service_settings, cors_origins=f"{FRIEND}, {OTHER}", api_keys=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def public(service_settings: Settings) -> Iterator[TestClient]:
    with clients(service_settings, cors_origins="*") as client:
        yield client


def allowed(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


def test_by_default_no_page_of_another_host_may_ask(service: TestClient) -> None:
    for response in (
        service.post("/classify", json={"inputs": PROMPT}, headers={"origin": FRIEND}),
        service.options("/classify", headers={"origin": FRIEND, **ASKS}),
    ):
        assert allowed(response.headers) == {}
    assert response.status_code == 405


@pytest.mark.parametrize("origin", [FRIEND, OTHER])
@pytest.mark.parametrize("path", ["/classify", "/generate", "/models", "/nothing"])
def test_a_browser_that_asks_for_a_page_is_told_without_a_key(origin: str, path: str, friendly: TestClient) -> None:
    response = friendly.options(path, headers={"origin": origin, **ASKS})
    assert (response.status_code, response.content) == (204, b"")
    assert allowed(response.headers) == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": ASKS["access-control-request-headers"],
        "access-control-expose-headers": TOLD,
        "access-control-max-age": "600",
    }


def test_a_page_of_a_stranger_is_told_nothing(friendly: TestClient) -> None:
    asked = friendly.options("/classify", headers={"origin": STRANGER, **ASKS})
    assert asked.status_code == 401
    answered = friendly.post("/classify", json={"inputs": PROMPT}, headers={"origin": STRANGER, **bearer(KEY)})
    assert answered.status_code == 200
    assert allowed(asked.headers) == allowed(answered.headers) == {}


def test_an_answer_can_be_read_with_its_headers(friendly: TestClient) -> None:
    response = friendly.post("/classify", json={"inputs": PROMPT}, headers={"origin": FRIEND, **bearer(KEY)})
    assert response.status_code == 200
    assert allowed(response.headers) == {"access-control-allow-origin": FRIEND, "access-control-expose-headers": TOLD}
    assert {"x-request-id", "x-model"} <= {*response.headers}


def test_a_stream_can_be_read(friendly: TestClient) -> None:
    response = friendly.post("/generate_stream", json={"inputs": PROMPT}, headers={"origin": FRIEND, **bearer(KEY)})
    assert response.text.startswith("data:")
    assert allowed(response.headers)["access-control-allow-origin"] == FRIEND


def test_an_error_can_be_read_too(friendly: TestClient) -> None:
    without = friendly.post("/classify", json={"inputs": PROMPT}, headers={"origin": FRIEND})
    wrong = friendly.post("/classify", content="{", headers={"origin": FRIEND, **bearer(KEY)})
    refusal(without, 401, "unauthorized")
    refusal(wrong, 422, "validation")
    assert {response.headers["access-control-allow-origin"] for response in (without, wrong)} == {FRIEND}


def test_who_keeps_answers_is_told_that_they_differ_by_origin(friendly: TestClient) -> None:
    for headers in ({"origin": FRIEND}, {"origin": STRANGER}, {}):
        assert "origin" in friendly.get("/", headers=headers).headers["vary"]


def test_any_page_may_ask_where_that_is_wished(public: TestClient) -> None:
    for origin in (FRIEND, STRANGER, "null"):
        response = public.options("/classify", headers={"origin": origin, **ASKS})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (204, "*")
    answer = public.post("/classify", json={"inputs": PROMPT}, headers={"origin": STRANGER})
    assert answer.headers["access-control-allow-origin"] == "*"


def test_no_cookie_is_ever_asked_for(friendly: TestClient, public: TestClient) -> None:
    for client in (friendly, public):
        response = client.options("/classify", headers={"origin": FRIEND, **ASKS})
        assert "access-control-allow-credentials" not in response.headers


def test_options_without_a_question_is_a_request_like_any_other(friendly: TestClient) -> None:
    response = friendly.options("/classify", headers={"origin": FRIEND, **bearer(KEY)})
    refusal(response, 405, "method_not_allowed")
    assert response.headers["access-control-allow-origin"] == FRIEND


def test_preflights_are_counted_as_answers(public: TestClient) -> None:
    public.options("/classify", headers={"origin": FRIEND, **ASKS})
    assert 'outcome="answer",route="other",status="204"' in public.get("/metrics").text
