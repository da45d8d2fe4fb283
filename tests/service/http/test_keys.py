"""service.http.keys: who may ask, who may change what serves, and that no key is ever told."""

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.errors import SettingsError
from service.http.app import create_app
from service.http.keys import KeyRing, Keys
from service.settings import Settings
from tests.service.http.ask import PROMPT, refusal

KEY, OTHER, ADMIN = "key-of-a-customer", "key-of-another-one", "key-of-the-operator"
ASKING = {"/generate": "POST", "/generate_stream": "POST", "/classify": "POST", "/models": "GET", "/info": "GET"}
OPEN = ["/livez", "/readyz", "/health", "/metrics", "/", "/docs", "/redoc", "/openapi.json"]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(service_settings: Settings) -> Any:
    keys = {"api_keys": f"{KEY},{OTHER}", "admin_keys": ADMIN}
    with TestClient(create_app(Settings.model_validate(service_settings.model_dump(exclude_unset=True) | keys))) as client:
        yield client


@pytest.mark.parametrize("path", ASKING)
def test_who_asks_needs_any_one_of_the_keys(path: str, guarded: TestClient) -> None:
    body = {"inputs": PROMPT} if ASKING[path] == "POST" else None
    for headers in ({}, bearer("key-of-nobody-at-all"), {"authorization": KEY}, {"authorization": f"Basic {KEY}"}, bearer("")):
        response = guarded.request(ASKING[path], path, json=body, headers=headers)
        assert "authorization: Bearer" in refusal(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
    for key in (KEY, OTHER, ADMIN):
        assert guarded.request(ASKING[path], path, json=body, headers=bearer(key)).status_code == 200
    assert guarded.request(ASKING[path], path, json=body, headers={"authorization": f"bearer  {KEY} "}).status_code == 200


def test_without_a_key_nothing_is_told_of_what_there_is(guarded: TestClient) -> None:
    refusal(guarded.get("/nothing"), 401, "unauthorized")
    refusal(guarded.post("/generate", content="{"), 401, "unauthorized")


@pytest.mark.parametrize("path", OPEN)
def test_who_watches_and_who_reads_what_there_is_to_ask_needs_none(path: str, guarded: TestClient) -> None:
    assert guarded.get(path).status_code == 200


def test_what_serves_is_changed_with_an_admin_key_alone(guarded: TestClient) -> None:
    for headers in ({}, bearer(KEY), bearer("key-of-nobody-at-all")):
        refusal(guarded.post("/models/nothing/load", headers=headers), 401, "unauthorized")
    refusal(guarded.post("/models/nothing/load", headers=bearer(ADMIN)), 404, "not_found")


def test_without_admin_keys_nobody_changes_what_serves(service: TestClient) -> None:
    sentence = refusal(service.post("/models/gru1-generate/unload", headers=bearer(ADMIN)), 403, "forbidden")
    assert "SEQSERVE_ADMIN_KEYS" in sentence


def test_no_key_is_logged_or_shown(guarded: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [guarded.get("/models", headers=bearer(key)) for key in (KEY, "key-of-nobody-at-all")]
    told = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert not any(key in told for key in (KEY, "key-of-nobody-at-all"))


# Where keys come from


def ring(given: str | None = None, file: Path | None = None) -> KeyRing:
    settings = Settings(api_keys=given, api_keys_file=file)
    return KeyRing("SEQSERVE_API_KEYS", settings.api_keys, settings.api_keys_file)


def test_a_file_has_a_key_a_line_and_notes(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the shop\n{KEY}\n\n  {OTHER}  \n")
    found = ring(ADMIN, tmp_path / "keys")
    assert all(found.holds(key.encode()) for key in (KEY, OTHER, ADMIN))
    assert not found.holds(b"# of the shop")
    assert not found.holds(b"")


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    found = ring(file=file)
    (tmp_path / "new").write_text(OTHER)
    (tmp_path / "new").rename(file)  # as Kubernetes changes a mounted Secret
    assert found.holds(KEY.encode())
    found.refresh()
    assert (found.holds(KEY.encode()), found.holds(OTHER.encode())) == (False, True)


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "short\n", "with a space in it\n"])
def test_a_file_that_turns_bad_changes_nothing(content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    found = ring(file=file)
    file.unlink()
    if content is not None:
        file.write_text(content)
    found.refresh()
    assert found.holds(KEY.encode())
    assert "the keys that were read before stay" in caplog.text


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "short\n", "열쇠열쇠열쇠열쇠열쇠열쇠열쇠열쇠\n"])
def test_a_file_that_is_bad_from_the_beginning_is_refused_by_the_settings_name(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingsError, match="^SEQSERVE_API_KEYS_FILE") as refused:
        ring(file=tmp_path / "keys")
    assert not content or not content.strip() or content.strip() not in str(refused.value)


@pytest.mark.parametrize("given", ["short", f"{KEY},short", "with a space in the middle"])
def test_a_key_that_is_easily_guessed_or_cannot_be_sent_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(SettingsError, match="^SEQSERVE_API_KEYS: key [12] must have 16 characters or more") as refused:
        Keys(Settings(api_keys=given))
    assert given not in str(refused.value)
