"""The page: answers, word by word and as they come, and other words in place of theirs."""

import json
from typing import Any

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen

MODEL = "korean-next-word"
TEXT = "이 영화는"
TOLD = {"details": True, "top_n_tokens": 8, "return_full_text": True}  # what the page wants to know of every answer


@pytest.mark.parametrize("options", [{"way": "greedy"}, {"way": "sample", "seed": 7, "temperature": 1, "top_p": 0.9}])
def test_what_is_written_is_what_the_service_answers(options: dict[str, Any], screen: Screen) -> None:
    screen.generate(TEXT, **options, max_new_tokens=12)
    parameters = {"do_sample": True, **{k: v for k, v in options.items() if k != "way"}} if options["way"] == "sample" else {}
    answer = screen.ask("/generate", TEXT, max_new_tokens=12, return_full_text=True, **parameters)["generated_text"]
    assert screen.answer().removesuffix(" (문장 끝)") == answer
    expect(screen.find("#announcer")).to_have_text(answer)


def test_words_are_seen_as_they_are_written(screen: Screen) -> None:
    """The words are seen to grow, before the end."""
    slow_down(screen)
    screen.find("#text").fill(TEXT)
    screen.set_options(way="greedy", max_new_tokens=60)
    screen.find("#generate").click()
    expect(screen.find("#answer .word").nth(2)).to_be_visible()
    expect(screen.find("#answer")).to_have_attribute("aria-busy", "true")
    before = len(screen.words())
    expect(screen.find("#answer .word").nth(before + 2)).to_be_visible()
    screen.press("Escape")


@pytest.mark.parametrize("way", ["button", "key", "key elsewhere"])
def test_it_can_be_stopped(way: str, screen: Screen) -> None:
    left = screen.failed()
    slow_down(screen)
    screen.find("#text").fill(TEXT)
    screen.set_options(way="greedy", max_new_tokens=512)
    screen.find("#text").focus()
    screen.press("Control+Enter")
    expect(screen.find("#answer .word").nth(1)).to_be_visible()
    if way == "button":
        screen.find("#stop").click()
    else:
        screen.find("#text" if way == "key" else "#generate").press("Escape")
    screen.ended()
    assert "멈춤" in screen.find("#answer-figures").inner_text()
    assert 0 < len(screen.words()) < 512
    expect(screen.find("#stop")).to_be_disabled()
    assert left == [f"{screen.address}/generate_stream: net::ERR_ABORTED"]


def slow_down(screen: Screen) -> None:
    """The network is that of a bad telephone, so that there is something to be seen of what takes milliseconds."""
    session = screen.page.context.new_cdp_session(screen.page)
    conditions = {"offline": False, "latency": 50, "downloadThroughput": 4_000, "uploadThroughput": 50_000}
    session.send("Network.emulateNetworkConditions", conditions)


@pytest.mark.parametrize(
    ("prompt", "first", "whole"), [("그 배우", "는", "그 배우는"), ("그 배우", "참", "그 배우 참"), ("그는", ",", "그는 ,")]
)
def test_a_first_word_is_set_where_the_service_sets_it(prompt: str, first: str, whole: str, screen: Screen) -> None:
    """Whether there is a space before it is known for sure at the end only."""
    token = {"id": 0, "text": first, "logprob": -9, "special": False}
    details = {"finish_reason": "length", "generated_tokens": 1, "input_length": 1, "seed": None}
    event = {"index": 1, "token": token, "top_tokens": [], "generated_text": whole, "details": details}
    body = f"data:{json.dumps(event)}\n\n"
    screen.page.route("**/generate_stream", lambda route: route.fulfill(body=body, headers={"x-model": MODEL}))
    screen.generate(prompt)
    assert screen.answer() == whole


def test_every_option_reaches_the_service(screen: Screen) -> None:
    options = {
        "max_new_tokens": 5,
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.95,
        "typical_p": 0.9,
        "seed": 42,
        "repetition_penalty": 1.2,
        "frequency_penalty": -0.5,
    }
    bodies = screen.asked("/generate_stream")
    screen.generate(TEXT, way="sample", stop="다.\n!", **options)
    told = {"do_sample": True, "stop": ["다.", "!"], **TOLD}
    assert bodies == [{"inputs": TEXT, "model": MODEL, "parameters": {**options, **told}}]
    assert "시드 42" in screen.find("#answer-figures").inner_text()


def test_options_of_sampling_are_not_sent_with_a_greedy_answer(screen: Screen) -> None:
    bodies = screen.asked("/generate_stream")
    screen.set_options(way="sample", temperature=0.5, seed=1)
    screen.generate(TEXT, way="greedy", max_new_tokens=3)
    assert bodies[0]["parameters"] == {"max_new_tokens": 3, **TOLD}


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", "0"), ("top_p", "1.5"), ("max_new_tokens", "100000"), ("max_new_tokens", "")]
)
def test_an_option_that_is_wrong_is_shown_and_nothing_is_asked(name: str, value: str, screen: Screen) -> None:
    bodies = screen.asked("/generate_stream")
    screen.write(TEXT)
    screen.set_options(**{name: value})
    screen.find(".options > summary").click()
    screen.find("#generate").click()
    expect(screen.find(f"#options [name={name}]")).to_be_focused()
    assert bodies == []


@pytest.mark.parametrize(
    ("name", "value", "korean", "english"),
    [
        ("temperature", "0", "0.01에서 100 사이의 수를 쓰세요.", "Write a number from 0.01 to 100."),
        ("top_k", "1.5", "1 이상의 정수를 쓰세요.", "Write a whole number, 1 or more."),
        ("max_new_tokens", "", "1에서 512 사이의 정수를 쓰세요.", "Write a whole number from 1 to 512."),
    ],
)
def test_what_an_option_takes_is_told_in_the_pages_language(
    name: str, value: str, korean: str, english: str, screen: Screen
) -> None:
    """Which need not be the browser's; the words are caught where the browser would show them."""
    screen.page.evaluate(
        "() => { window.told = []; HTMLInputElement.prototype.reportValidity = function () { told.push(this.validationMessage) } }"
    )
    screen.write(TEXT)
    screen.set_options(**{name: value})
    for language in ("ko", "en"):
        screen.find("#language").select_option(language)
        screen.find("#generate").click()
    assert screen.page.evaluate("window.told") == [korean, english]
    screen.generate(TEXT, **{name: 5})
    assert screen.words()


# ---------------------------------------------------------------------------------------------- other words in their place


def test_a_word_of_the_answer_shows_what_else_might_have_stood_there(screen: Screen) -> None:
    screen.generate(TEXT, way="greedy", max_new_tokens=6)
    top = screen.ask("/generate", TEXT, max_new_tokens=6, details=True, top_n_tokens=8)["details"]["top_tokens"]
    for place in (1, 0):
        screen.find("#answer .word").nth(place).click()
        assert [chip.strip("␣") for chip in screen.chips("#alternatives")] == [
            "(문장 끝)" if word["special"] else word["text"].strip() for word in top[place]
        ]
        expect(screen.find("#answer .word").nth(place)).to_have_attribute("aria-expanded", "true")
        assert screen.find("#answer .word[aria-expanded=true]").count() == 1


def test_from_an_alternative_it_is_written_on(screen: Screen) -> None:
    screen.generate(TEXT, way="greedy", max_new_tokens=6)
    kept = screen.words()[:1]
    screen.find("#answer .word").nth(1).click()
    other = screen.find("#alternatives .chip").nth(3)
    chosen = other.locator(".text").inner_text()
    other.click()
    screen.ended()
    assert screen.words()[:2] == [*kept, chosen]
    start = f"{TEXT} {kept[0]} {chosen}"
    rest = screen.ask("/generate", start, max_new_tokens=4, return_full_text=True)["generated_text"]
    assert screen.answer().removesuffix(" (문장 끝)") == rest


def test_alternatives_need_no_mouse(screen: Screen) -> None:
    screen.generate(TEXT, way="greedy", max_new_tokens=6)
    words = screen.words()
    screen.find("#answer .word").first.focus()
    screen.press("ArrowRight", "Enter")
    assert screen.find("#alternatives .chip").first.evaluate("chip => chip === document.activeElement")
    screen.press("Escape")
    expect(screen.find("#alternatives-box")).to_be_hidden()
    expect(screen.find("#answer .word").nth(1)).to_be_focused()
    screen.press("ArrowLeft", "Enter", "2")
    screen.ended()
    assert screen.words()[0] != words[0]
    expect(screen.find("#answer .word").first).to_be_focused()


def test_the_end_of_the_sentence_is_an_alternative_too(screen: Screen) -> None:
    screen.generate(f"{TEXT} 정말 최고다.", way="greedy", max_new_tokens=6)
    screen.find("#answer .word").first.click()
    screen.find(
        "#alternatives .chip",
    ).filter(has_text="(문장 끝)").click()
    screen.ended()
    assert screen.answer() == f"{TEXT} 정말 최고다. (문장 끝)"


def test_nothing_is_told_of_times_and_models_that_wrote_nothing(screen: Screen) -> None:
    """The end is chosen: no word is written, and no time taken for it."""
    screen.generate(f"{TEXT} 정말 최고다.", way="greedy", max_new_tokens=6)
    version = screen.find("#answer-figures").inner_text().split(" · ")[-1]
    assert version.startswith(f"{MODEL}/")
    screen.find("#model").select_option("starter-next-word")
    screen.find("#answer .word").first.click()
    screen.find("#alternatives .chip").filter(has_text="(문장 끝)").click()
    expect(screen.find("#answer-figures")).to_have_text(f"단어 0개 · 문장이 끝남 · {version}")


def test_an_answer_is_written_on_by_the_model_that_began_it(screen: Screen) -> None:
    bodies = screen.asked("/generate_stream")
    screen.generate(TEXT, way="greedy", max_new_tokens=6)
    version = screen.find("#answer-figures").inner_text().split(" · ")[-1]
    screen.find("#model").select_option("starter-next-word")
    screen.find("#answer .word").nth(1).click()
    screen.find("#alternatives .chip").nth(3).click()
    expect(screen.find("#answer-figures")).to_contain_text(version)
    screen.generate(TEXT, max_new_tokens=1)
    expect(screen.find("#answer-figures")).to_contain_text("starter-next-word/")
    assert [body["model"] for body in bodies] == [MODEL, MODEL, "starter-next-word"]


def test_an_answer_becomes_the_text(screen: Screen) -> None:
    screen.generate(TEXT, way="greedy", max_new_tokens=3)
    answer = screen.answer()
    screen.find("#answer-take").click()
    screen.suggested_after(answer)
    assert screen.find("#text").input_value() == answer
