"""The page: keys, where the service wants one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.http.test_keys import KEY
from tests.service.process import Process, running

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="module")
def guarded_service() -> Iterator[Process]:
    with running(models=ROOT / "models", api_keys=KEY) as process:
        yield process


@pytest.fixture
def guarded(context: "BrowserContext", guarded_service: Process) -> Iterator[Screen]:
    screen = Screen(context.new_page(), guarded_service, expected=["status of 401"])
    screen.watch()
    screen.page.goto(f"{screen.address}/")
    expect(screen.find("#key-dialog")).to_be_visible()
    yield screen
    assert screen.unexpected() == []


def test_the_page_asks_for_a_key_where_one_is_needed_and_then_works(guarded: Screen) -> None:
    expect(guarded.find("#notice")).to_contain_text("이 서버는 API 키가 있어야 답합니다.")
    guarded.page.keyboard.type(KEY)
    guarded.press("Enter")
    expect(guarded.find("#card .name")).to_be_visible()
    expect(guarded.find("#notice")).to_be_empty()
    guarded.generate("이 영화는", max_new_tokens=3)
    assert guarded.words()
    guarded.find("#card summary").first.click()
    expect(guarded.find("#card img")).to_have_count(1)


def test_why_a_key_is_asked_for_stands_where_it_is_typed(guarded: Screen) -> None:
    expect(guarded.find("#key-fault")).to_have_text("이 서버는 API 키가 있어야 답합니다.")
    guarded.find("#key").fill("key-of-nobody-at-all")
    guarded.press("Enter")
    expect(guarded.find("#key-fault")).to_have_text("이 서버가 받지 않는 키입니다. 다시 확인해 주세요.")
    expect(guarded.find("#key-dialog")).to_be_visible()
    expect(guarded.find("#notice")).to_contain_text("authorization: Bearer KEY")
    guarded.press("Escape")
    expect(guarded.find("#key-open")).to_be_focused()
    guarded.press("Enter")
    expect(guarded.find("#key-dialog")).to_be_visible()
    expect(guarded.find("#key-fault")).to_be_hidden()


def test_after_a_key_was_asked_for_the_focus_is_where_it_was(guarded: Screen) -> None:
    """Also on a button that can be used again only then."""
    guarded.find("#key").fill(KEY)
    guarded.press("Enter")
    expect(guarded.find("#card .name")).to_be_visible()
    refusal = {"error": "no such key", "error_type": "unauthorized"}
    guarded.page.route("**/classify", lambda route: route.fulfill(status=401, json=refusal))
    guarded.tab("batch")
    guarded.find("#lines").fill("정말 좋다")
    guarded.find("#batch-run").press("Enter")
    expect(guarded.find("#key-dialog")).to_be_visible()
    guarded.press("Escape")
    expect(guarded.find("#batch-run")).to_be_focused()


SENTENCES = [("ko-KR", "키에는 영문자, 숫자와 기호만"), ("en-GB", "A key has no letters but")]


@pytest.mark.parametrize(
    ("context", "sentence"), [({"locale": locale}, told) for locale, told in SENTENCES], indirect=["context"], ids=["ko", "en"]
)
def test_a_key_that_cannot_be_sent_is_refused_where_it_is_typed(sentence: str, guarded: Screen) -> None:
    for key in ("ㅏey-of-a-tester-1", "key of a tester 1", "key-of-a-tester–1"):
        guarded.find("#key").fill(key)
        guarded.press("Enter")
        expect(guarded.find("#key-dialog")).to_be_visible()
        assert sentence in guarded.find("#key").evaluate("field => field.validationMessage")
    guarded.find("#key").fill(f" {KEY} ")
    guarded.press("Enter")
    expect(guarded.find("#card .name")).to_be_visible()


@pytest.mark.parametrize("kept", [False, True])
def test_a_key_is_remembered_only_where_that_is_wished(kept: bool, guarded: Screen) -> None:
    guarded.find("#key-keep").set_checked(kept)
    guarded.find("#key").fill(KEY)
    guarded.press("Enter")
    expect(guarded.find("#card .name")).to_be_visible()
    stored = guarded.page.evaluate("JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})")
    assert (KEY in stored) == kept
    assert KEY not in guarded.page.evaluate("JSON.stringify({...localStorage})")
    guarded.page.reload()
    expect(guarded.find("#card .name" if kept else "#key-dialog")).to_be_visible()


def test_a_key_stands_in_no_address_and_in_no_code(guarded: Screen) -> None:
    addresses: list[str] = []
    guarded.page.on("request", lambda request: addresses.append(request.url))
    guarded.find("#key").fill(KEY)
    guarded.press("Enter")
    guarded.generate("이 영화는", max_new_tokens=3)
    assert len(addresses) > 3
    assert not any(KEY in address for address in [*addresses, guarded.page.url])
    for kind in ("curl", "python"):
        guarded.find(f"#code-{kind}").click()
        code = guarded.find("#code").inner_text()
        assert KEY not in code
        assert "SEQSERVE_API_KEY" in code
