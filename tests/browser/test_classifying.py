"""The page: what a text is, how sure that is, and which words make it so."""

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import running

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

TEXTS = ["배우는 좋은데  이야기가\n너무 지루해요. 😀 그래도 음악은 최고!", "정말 재미있고 감동적인 영화"]


@pytest.fixture(autouse=True)
def _shown(screen: Screen) -> None:
    screen.tab("classify")


def tints(screen: Screen) -> list[tuple[str, bool, float]]:
    """Every tinted word, whether it speaks for the label, and how strong the tint is."""
    found = screen.page.evaluate(
        "[...document.querySelectorAll('#tinted .tint')].map(t => "
        "[t.textContent, t.classList.contains('for'), Number(t.style.getPropertyValue('--weight'))])"
    )
    return [(text, is_for, weight) for text, is_for, weight in found]


@pytest.mark.parametrize("text", TEXTS)
def test_labels_are_shown_with_their_scores_best_first(text: str, screen: Screen) -> None:
    screen.classify(text)
    labels = screen.ask("/classify", text)
    assert screen.find("#labels .name").all_inner_texts() == [label["label"] for label in labels]
    for share, label in zip(screen.find("#labels .share").all_inner_texts(), labels, strict=True):
        assert float(share.rstrip("%")) == pytest.approx(100 * label["score"], abs=0.51)
    widths = screen.page.evaluate(
        "[...document.querySelectorAll('#labels .track')].map(t => t.firstChild.offsetWidth / t.offsetWidth)"
    )
    assert widths == pytest.approx([label["score"] for label in labels], abs=0.02)


@pytest.mark.parametrize("text", TEXTS)
def test_every_word_is_tinted_by_what_it_does(text: str, screen: Screen) -> None:
    screen.classify(text)
    words = screen.ask("/classify", text, details=True)["details"]["attributions"]
    strongest = max(abs(word["influence"]) for word in words)
    for (told, is_for, weight), word in zip(tints(screen), words, strict=True):
        assert (told, is_for) == (word["text"], word["influence"] >= 0)
        assert weight == pytest.approx(abs(word["influence"]) / strongest)
    assert screen.find("#tinted").text_content() == text


def test_tints_can_be_told_apart_without_colours(screen: Screen) -> None:
    screen.classify(TEXTS[0])
    assert {is_for for _, is_for, _ in tints(screen)} == {True, False}
    styles = {
        kind: screen.find(f"#tinted .{kind}").first.evaluate("tint => getComputedStyle(tint).textDecorationStyle")
        for kind in ("for", "against")
    }
    assert styles == {"for": "solid", "against": "wavy"}


def test_the_strongest_words_are_told_in_a_sentence_with_their_signs(screen: Screen) -> None:
    screen.classify(TEXTS[0])
    words = screen.ask("/classify", TEXTS[0], details=True)["details"]["attributions"]
    words.sort(key=lambda word: -abs(word["influence"]))
    told = screen.find("#tinted-note").inner_text()
    assert re.findall(r"(\S+) \(([+-]\d+\.\d)\)", told) == [(word["text"], f"{word['influence']:+.1f}") for word in words[:3]]


def test_typing_is_answered_without_any_button(screen: Screen) -> None:
    screen.find("#review").press_sequentially("최고")
    expect(screen.find("#labels .name").first).to_have_text("positive")
    screen.find("#review").press_sequentially("의 쓰레기")
    expect(screen.find("#labels .name").first).to_have_text("negative")


def test_of_a_word_alone_the_page_says_that_nothing_would_be_left(screen: Screen) -> None:
    screen.classify("최고")
    expect(screen.find("#tinted-note")).to_have_text("단어가 하나뿐이라 빼고 비교할 수 없습니다.")


def test_a_text_of_too_many_words_is_labelled_without_tints(screen: Screen) -> None:
    text = "좋다 " * 255 + "최고"
    screen.classify(text)
    assert screen.find("#labels .name").first.inner_text() == screen.ask("/classify", text)[0]["label"]
    assert tints(screen) == []
    expect(screen.find("#tinted-note")).to_have_text("단어가 255개보다 많아 영향은 계산하지 않았습니다.")


def test_words_are_left_out_within_all_limits(context: "BrowserContext") -> None:
    with running(models=ROOT / "models", max_waiting=4) as process:
        small = Screen(context.new_page(), process)
        small.watch()
        small.open().tab("classify")
        small.classify("정말 재미있고 감동적인")
        assert len(tints(small)) == 3
        small.classify("정말 재미있고 감동적인 영화")
        assert tints(small) == []
        expect(small.find("#tinted-note")).to_have_text("단어가 3개보다 많아 영향은 계산하지 않았습니다.")
        assert small.unexpected() == []


def test_without_a_text_there_is_no_result(screen: Screen) -> None:
    screen.classify(TEXTS[0])
    screen.find("#review").fill(" \n ")
    expect(screen.find("#labels-box")).to_be_hidden()


def test_another_model_is_asked_about_the_same_text(screen: Screen) -> None:
    text = "You won £1000! Call 09061 now"
    screen.classify(text)
    screen.find("#model").select_option("english-spam")
    expect(screen.find("#labels .name").first).to_have_text(screen.ask("/classify", text, "english-spam")[0]["label"])
    expect(screen.find("#card .name")).to_have_text("english-spam/2")


def test_what_is_markup_elsewhere_is_text_here(screen: Screen) -> None:
    text = "<img src=x onerror=alert(1)> <b>최고</b> &amp; 최악"
    screen.classify(text)
    assert screen.find("#tinted").text_content() == text
    assert screen.find("#tinted img, #tinted b").count() == 0


def test_an_error_is_told_as_a_sentence_the_services_own_with_it(screen: Screen) -> None:
    screen.expected.append("status of 413")
    screen.find("#review").fill("최고 " * 10_000)
    notice = screen.find("#notice")
    expect(notice).to_contain_text("너무 많거나 너무 깁니다. (inputs: 30000 characters are more than 20000)")
    screen.classify(TEXTS[1])
    expect(notice).to_be_empty()
