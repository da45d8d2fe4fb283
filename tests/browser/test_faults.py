"""The page: what goes wrong, as a sentence."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import running

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


def test_a_service_that_is_gone_is_told_and_asked_again(context: "BrowserContext") -> None:
    with running(models=ROOT / "models") as process:
        screen = Screen(context.new_page(), process)
        screen.expected.append("ERR_CONNECTION_REFUSED")
        screen.watch()
        screen.open().write("이 영화는")
        process.stop()
        screen.find("#generate").click()
        notice = screen.find("#notice")
        expect(notice).to_contain_text("서버에 연결할 수 없습니다.")
        with running(models=ROOT / "models", port=process.port):
            notice.get_by_role("button", name="다시 하기").click()
            screen.ended()
            expect(notice).to_be_empty()
            assert screen.words()
        assert screen.unexpected() == []


def test_a_busy_service_says_when_to_come_again(screen: Screen) -> None:
    screen.expected.append("status of 429")
    refusal = {"error": "1024 inputs are being worked on", "error_type": "overloaded"}
    screen.page.route(
        "**/generate_stream", lambda route: route.fulfill(status=429, headers={"retry-after": "7"}, json=refusal), times=1
    )
    screen.generate("이 영화는", max_new_tokens=3)
    expect(screen.find("#notice p")).to_have_text("서버가 바쁩니다. 7초 뒤에 다시 해 보세요. (1024 inputs are being worked on)")
    screen.find("#notice").get_by_role("button", name="닫기").click()
    expect(screen.find("#notice")).to_be_empty()


@pytest.mark.parametrize("body", ["<h1>Bad Gateway</h1>", "", "null", '"no"', "[]", '{"error":{"message":"no"}}', '{"error":null}'])
def test_an_answer_of_a_proxy_is_told_by_its_status(body: str, screen: Screen) -> None:
    screen.expected.append("status of 502")
    screen.page.route("**/generate_stream", lambda route: route.fulfill(status=502, body=body), times=1)
    screen.generate("이 영화는")
    expect(screen.find("#notice p")).to_have_text("서버에서 문제가 생겼습니다. (HTTP 502)")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "허용되지 않은 요청입니다. (HTTP 403)"),
        (413, "너무 많거나 너무 깁니다. (HTTP 413)"),
        (429, "서버가 바쁩니다. 1초 뒤에 다시 해 보세요. (HTTP 429)"),
        (503, "지금은 답할 수 없습니다. (HTTP 503)"),
        (504, "시간 안에 끝나지 않았습니다. (HTTP 504)"),
    ],
)
def test_a_status_of_a_proxy_that_means_what_ours_does_is_told_alike(status: int, sentence: str, screen: Screen) -> None:
    screen.expected.append(f"status of {status}")
    screen.page.route("**/generate_stream", lambda route: route.fulfill(status=status, body="<h1>No</h1>"), times=1)
    screen.generate("이 영화는")
    expect(screen.find("#notice p")).to_have_text(sentence)


def test_a_date_to_come_again_is_told_in_seconds(screen: Screen) -> None:
    screen.expected.append("status of 429")
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    screen.page.route("**/generate_stream", lambda route: route.fulfill(status=429, headers={"retry-after": when}), times=1)
    screen.generate("이 영화는")
    expect(screen.find("#notice p")).to_have_text(re.compile(r"서버가 바쁩니다\. (8\d|90)초 뒤에 다시 해 보세요\."))


@pytest.mark.parametrize("body", ["data:{\n\n", "data:null\n\n", "data:{}\n\n"])
def test_an_answer_that_the_page_cannot_read_is_told_and_ends(body: str, screen: Screen) -> None:
    """And the browser's console has why: it may be the page's own fault."""
    screen.expected.append("error: ")
    screen.page.route("**/generate_stream", lambda route: route.fulfill(body=body), times=1)
    screen.generate("이 영화는")
    expect(screen.find("#notice p")).to_have_text("이 페이지가 답을 읽지 못했습니다. 새로 고친 뒤 다시 해 보세요.")
    expect(screen.find("#stop")).to_be_disabled()
    assert screen.faults
    screen.find("#notice").get_by_role("button", name="다시 하기").click()
    expect(screen.find("#notice")).to_be_empty()
    screen.ended()
    assert screen.words()


def test_what_went_wrong_is_told_in_the_language_that_is_chosen_then(screen: Screen) -> None:
    screen.expected.append("status of 503")
    refusal = {"error": "the service is shutting down", "error_type": "unavailable"}
    screen.page.route("**/generate_stream", lambda route: route.fulfill(status=503, json=refusal), times=1)
    screen.generate("이 영화는", max_new_tokens=3)
    expect(screen.find("#notice p")).to_have_text("지금은 답할 수 없습니다. (the service is shutting down)")
    screen.find("#language").select_option("en")
    expect(screen.find("#notice p")).to_have_text("It cannot answer now. (the service is shutting down)")
    screen.find("#notice").get_by_role("button", name="Try again").click()
    screen.ended()
    expect(screen.find("#notice")).to_be_empty()


def test_a_stream_that_breaks_keeps_its_words_and_says_why(screen: Screen) -> None:
    token = '{"id":12,"text":"그","logprob":-1,"special":false}'
    body = f'data:{{"index":1,"token":{token},"top_tokens":[],"generated_text":null,"details":null}}\n\n'
    body += 'data:{"error":"the model failed on this request","error_type":"internal"}\n\n'
    screen.page.route("**/generate_stream", lambda route: route.fulfill(body=body, headers={"x-model": "m/1"}), times=1)
    screen.generate("이 영화는", way="greedy", max_new_tokens=3)
    assert screen.words() == ["그"]
    expect(screen.find("#notice p")).to_contain_text("the model failed on this request")
    screen.find("#notice").get_by_role("button", name="다시 하기").click()
    screen.ended()
    assert screen.words()[0] == "그"
    assert len(screen.words()) > 1
