"""The page: what goes wrong, as a sentence."""

from typing import TYPE_CHECKING

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


def test_an_answer_of_a_proxy_is_told_by_its_status(screen: Screen) -> None:
    screen.expected.append("status of 502")
    screen.page.route("**/generate_stream", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"), times=1)
    screen.generate("이 영화는")
    expect(screen.find("#notice p")).to_have_text("서버에서 문제가 생겼습니다. (HTTP 502)")


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
