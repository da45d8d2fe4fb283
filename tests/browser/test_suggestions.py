"""The page: next words while one types."""

import math

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen

TEXT = "이 영화는"


def likeliest(screen: Screen, text: str) -> list[dict[str, object]]:
    """What the service itself suggests after a text."""
    details = screen.ask("/generate", text, max_new_tokens=1, details=True, top_n_tokens=8)["details"]
    return [word for word in details["top_tokens"][0] if not word["special"]]


def test_after_every_word_the_likeliest_next_ones_are_suggested_with_their_probability(screen: Screen) -> None:
    for text in (TEXT, f"{TEXT} 정말"):
        screen.write(text)
        words = likeliest(screen, text)
        assert screen.chips() == [str(word["text"]).strip() for word in words]
        shares = screen.find("#suggestions li:visible .share").all_inner_texts()
        assert shares == [f"{100 * math.exp(float(str(word['logprob']))):.1f}%" for word in words]


def test_bars_are_as_long_as_the_root_of_how_likely_words_are(screen: Screen) -> None:
    """All of a bar is certainty: the likeliest of many unlikely words does not look like one that is sure, nor like nothing."""
    screen.write(TEXT)
    lengths = screen.page.evaluate(
        "[...document.querySelectorAll('#suggestions .track')].map(t => t.firstChild.offsetWidth / t.offsetWidth)"
    )
    words = likeliest(screen, TEXT)
    roots = [math.exp(float(str(word["logprob"])) / 2) for word in words]
    assert lengths == pytest.approx(roots, abs=0.01)


def test_without_a_word_there_are_examples_and_no_suggestions(screen: Screen) -> None:
    expect(screen.find("#suggestions")).to_be_hidden()
    screen.find("#write .example").first.click()
    screen.suggested_after(screen.find("#text").input_value())
    assert screen.chips()
    expect(screen.find("#write .example").first).to_be_hidden()


def test_a_suggestion_is_taken_with_the_mouse(screen: Screen) -> None:
    screen.write(TEXT)
    word = screen.chips()[1]
    screen.find("#suggestions .chip").nth(1).click()
    screen.suggested_after(f"{TEXT} {word}")
    assert screen.find("#text").input_value() == f"{TEXT} {word}"
    assert screen.focused() == "text"


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["Tab", "Enter"], 0),
        (["ArrowDown", "Enter"], 0),
        (["Tab", "ArrowRight", "ArrowRight", "Space"], 2),
        (["Tab", "End", "ArrowLeft", "Home", "ArrowLeft", "Enter"], -1),
        (["Tab", "3"], 2),
        (["Alt+2"], 1),
    ],
)
def test_a_suggestion_is_taken_with_keys_alone(keys: list[str], place: int, screen: Screen) -> None:
    screen.write(TEXT)
    word = screen.chips()[place]
    screen.press(*keys)
    screen.suggested_after(f"{TEXT} {word}")
    assert screen.focused() == "text"


def test_typing_on_after_a_suggestion_needs_no_mouse(screen: Screen) -> None:
    screen.write(TEXT)
    first = screen.chips()[0]
    screen.press("Alt+1")
    screen.suggested_after(f"{TEXT} {first}")
    second = screen.chips()[0]
    screen.press("Space", "Alt+1")
    screen.suggested_after(f"{TEXT} {first} {second.strip()}")


def test_a_question_that_is_outdated_is_left_and_its_answer_never_shown(screen: Screen) -> None:
    left = screen.failed()
    screen.page.route("**/generate", lambda route: None if TEXT in route.request.post_data else route.continue_())
    screen.find("#text").fill(TEXT)
    screen.write("배우들의 연기가")
    assert left == [f"{screen.address}/generate: net::ERR_ABORTED"]
    assert screen.chips() == [str(word["text"]).strip() for word in likeliest(screen, "배우들의 연기가")]


def test_the_space_after_a_word_asks_nothing_for_its_suggestions_are_there(screen: Screen) -> None:
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.write(TEXT)
    before, count = screen.chips(), len(asked)
    screen.press("Space")
    screen.suggested_after(f"{TEXT} ")
    assert screen.chips() == before
    assert [url for url in asked[count:] if url.endswith("/generate")] == []


def test_what_failed_is_asked_again_at_the_next_key(screen: Screen) -> None:
    screen.expected.append("503")
    screen.page.route("**/generate", lambda route: route.fulfill(status=503, json={"error": "no", "error_type": "unavailable"}))
    screen.find("#text").fill(TEXT)
    screen.suggested_after(TEXT)
    assert screen.chips() == []
    screen.page.unroute("**/generate")
    screen.press("End", "Space")
    screen.suggested_after(f"{TEXT} ")
    assert screen.chips() == [str(word["text"]).strip() for word in likeliest(screen, TEXT)]


def test_words_that_the_model_does_not_know_are_named(screen: Screen) -> None:
    screen.write("고래상어는 whaleshark")
    expect(screen.find("#unknown")).to_have_text("모델이 모르는 단어: 고래상어는, whaleshark")
    screen.write(TEXT)
    expect(screen.find("#unknown")).to_be_hidden()


def test_who_does_not_see_the_page_hears_what_is_suggested_after_a_pause(screen: Screen) -> None:
    screen.write(TEXT)
    expect(screen.find("#announcer")).to_have_text(f"제안: {', '.join(screen.chips()[:3])}")
