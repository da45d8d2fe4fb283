"""The page as a whole: languages, brightness, telephones, who has no mouse and who does not see it, models and figures."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.browser import LAPTOP, TELEPHONE, expect
from tests.browser.screen import Screen

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ViewportSize

MILLISECONDS = re.compile(r"\d+(\.\d)? m?s")
PANELS = ("write", "classify", "batch")


def as_a_context(**options: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("context", [options], indirect=True, ids=["-".join(map(str, options))])


def fill_all(screen: Screen) -> Iterator[str]:
    """Every panel, one after the other, with all that it may show."""
    screen.generate("이 영화는 정말", way="greedy", max_new_tokens=12)
    screen.find("#answer .word").first.click()
    for summary in screen.find("#card summary").all():
        summary.click()
    expect(screen.find("#card img")).not_to_have_count(0)
    yield "write"
    screen.tab("classify")
    screen.classify("배우는 좋은데 이야기가 너무 지루해요")
    yield "classify"
    screen.tab("batch")
    screen.find("#file").set_input_files(
        {"name": "r.csv", "mimeType": "text/csv", "buffer": "글,번호\n재미있는 영화,1\n나쁜 영화,2\n".encode()}
    )
    screen.find("#batch-run").click()
    expect(screen.find("#table tbody tr")).to_have_count(2)
    yield "batch"


# ------------------------------------------------------------------------------------------------------ who reads it, and how


def test_it_speaks_korean_to_a_korean_browser(screen: Screen) -> None:
    assert screen.find("html").get_attribute("lang") == "ko"
    assert screen.find("[role=tab]").all_inner_texts() == ["이어 쓰기", "분류", "여러 문장"]


@as_a_context(locale="de-DE")
def test_it_speaks_english_to_all_others(screen: Screen) -> None:
    assert screen.find("html").get_attribute("lang") == "en"
    assert screen.find("[role=tab]").all_inner_texts() == ["Write", "Classify", "Many texts"]


def test_the_language_is_changed_everywhere_and_kept(screen: Screen) -> None:
    panels = fill_all(screen)
    for _ in panels:
        screen.find("#language").select_option("en")
        screen.find("#language").select_option("ko")
    screen.find("#language").select_option("en")
    expect(screen.find("#batch-status")).to_have_text("All 2 texts are classified.")
    seen = screen.find("body").inner_text().replace("한국어", "")
    told = screen.find("#card").inner_text() + screen.find("#table").inner_text() + screen.find("#code").inner_text()
    korean = {word for word in seen.split() if any("가" <= letter <= "힣" for letter in word)}
    assert korean <= {*told.split(), "글", "번호"}  # the names of the file's columns
    screen.page.reload()
    expect(screen.find("#tab-write")).to_have_text("Write")


def test_a_browser_that_keeps_nothing_for_a_page_shows_it_all_the_same(screen: Screen) -> None:
    forbidden = "{ get() { throw new DOMException('no', 'SecurityError'); } }"
    for area in ("localStorage", "sessionStorage"):
        screen.page.add_init_script(f"Object.defineProperty(window, '{area}', {forbidden})")
    screen.page.reload()
    screen.write("이 영화는")
    screen.find("#language").select_option("en")
    expect(screen.find("#tab-write")).to_have_text("Write")


def background(screen: Screen) -> list[int]:
    colour = screen.find("body").evaluate("body => getComputedStyle(body).backgroundColor")
    return [int(part) for part in str(colour).removeprefix("rgb(").removesuffix(")").split(",")]


@pytest.mark.parametrize("context", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True, ids=["dark", "light"])
def test_it_is_as_bright_as_the_system_until_one_chooses(screen: Screen, context: "BrowserContext") -> None:
    dark = screen.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (max(background(screen)) < 60) == dark
    for choice in ("dark", "light"):
        screen.find("#theme").select_option(choice)
        assert (max(background(screen)) < 60) == (choice == "dark")
    screen.page.reload()
    assert min(background(screen)) > 200
    screen.find("#theme").select_option("auto")
    assert (max(background(screen)) < 60) == dark


@pytest.mark.parametrize(
    "viewport", [TELEPHONE, {"width": 320, "height": 640}, {"width": 800, "height": 600}, LAPTOP], ids=lambda v: str(v["width"])
)
def test_nothing_is_wider_than_the_screen(viewport: "ViewportSize", screen: Screen) -> None:
    screen.page.set_viewport_size(viewport)
    for panel in fill_all(screen):
        for kind in ("curl", "python"):
            screen.find(f"#code-{kind}").click()
            assert screen.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], panel


@as_a_context(reduced_motion="no-preference")
def test_nothing_moves(screen: Screen) -> None:
    """So that nobody has to ask for it."""
    screen.write("이 영화는")
    moving = "e => (s => `${s.transitionDuration} ${s.animationDuration} ${s.scrollBehavior}`)(getComputedStyle(e))"
    assert {*screen.page.evaluate(f"[...document.querySelectorAll('*')].map({moving})")} == {"0s 0s auto"}


# --------------------------------------------------------------------------------------------------------------- who uses keys


def test_tabs_are_changed_with_arrows(screen: Screen) -> None:
    screen.find("#tab-write").focus()
    for key, panel in (
        ("ArrowRight", "classify"),
        ("ArrowRight", "batch"),
        ("ArrowRight", "write"),
        ("End", "batch"),
        ("Home", "write"),
        ("ArrowLeft", "batch"),
    ):
        screen.press(key)
        assert screen.focused() == f"tab-{panel}"
        assert [name for name in PANELS if screen.find(f"#{name}").is_visible()] == [panel]
        assert screen.find(f"#tab-{panel}").get_attribute("aria-selected") == "true"


def test_everything_is_reached_by_tab_and_seen_to_be(screen: Screen) -> None:
    """From the beginning of the page on, through every field and button that can be used."""
    seen = []
    for _ in range(60):
        screen.press("Tab")
        focus = screen.page.evaluate(
            "(e => [e.id || e.className || e.tagName, parseFloat(getComputedStyle(e).outlineWidth)])(document.activeElement)"
        )
        if focus[0] == "BODY":
            break
        seen.append(focus)
    assert all(width >= 2 for _, width in seen), seen
    assert [name for name, _ in seen][:1] == ["skip"]
    assert {"key-open", "theme", "language", "tab-write", "model", "text", "generate", "code-curl", "code-copy"} <= {
        name for name, _ in seen
    }


def test_the_first_tab_leads_past_the_head(screen: Screen) -> None:
    screen.press("Tab", "Enter", "Tab")
    assert screen.focused() == "model"


@pytest.mark.parametrize(
    "context",
    [{"color_scheme": "dark"}, {"color_scheme": "light"}, {"viewport": TELEPHONE}],
    indirect=True,
    ids=["dark", "light", "telephone"],
)
def test_axe_finds_nothing_that_would_keep_anyone_out(screen: Screen) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
    for panel in fill_all(screen):
        results = axe.run(screen.page, options=options)
        assert results.violations_count == 0, f"{panel}: {results.generate_report()}"
    screen.find("#key-open").click()
    results = axe.run(screen.page, options=options)
    assert results.violations_count == 0, results.generate_report()


# --------------------------------------------------------------------------------------------------- models and figures


def test_the_card_tells_what_the_service_tells_of_the_model(screen: Screen) -> None:
    (model,) = [one for one in screen.service.client.get("/models").json()["models"] if one["name"] == "korean-sentiment"]
    screen.tab("classify")
    told = screen.find("#card").inner_text()
    assert model["description"] in told
    for score in model["scores"]:
        assert f"{score['metric']}\n{score['value']:g}" in told
        assert all(f"{value:g} {name}" in told for name, value in score["baselines"].items())


def test_plots_and_the_whole_card_are_shown_when_they_are_opened(screen: Screen) -> None:
    screen.tab("batch")
    for summary in screen.find("#card summary").all():
        summary.click()
    expect(screen.find("#card img")).to_have_count(3)
    widths = screen.page.evaluate("[...document.querySelectorAll('#card img')].map(i => i.naturalWidth)")
    assert all(width > 300 for width in widths)
    assert screen.find("#card img").first.get_attribute("alt") == "학습 곡선"
    card = screen.service.client.get("/models/korean-sentiment/card").text
    expect(screen.find("#card pre")).to_have_text(card)


def test_what_of_the_card_failed_once_can_be_opened_again(screen: Screen) -> None:
    screen.expected.append("status of 503")
    refusal = {"error": "it is ending", "error_type": "unavailable"}
    screen.page.route("**/models/*/card", lambda route: route.fulfill(status=503, json=refusal), times=1)
    summary = screen.find("#card summary").last
    summary.click()
    expect(screen.find("#notice p")).to_contain_text("it is ending")
    for _ in range(2):
        for _ in ("closed", "opened"):
            summary.click()
        expect(screen.find("#card pre")).to_have_count(1)


def test_the_figures_of_the_moment_are_those_of_the_metrics(screen: Screen) -> None:
    for name in ("rate", "p50", "p99"):
        assert screen.find(f"#live-{name}").inner_text() == "–"
    for _ in range(40):
        screen.ask("/classify", "좋다")
    expect(screen.find("#live-p50")).to_have_text(MILLISECONDS)
    expect(screen.find("#live-p99")).to_have_text(MILLISECONDS)
    assert float(screen.find("#live-rate").inner_text()) > 0.5
    assert screen.find("#live-rows").inner_text() == "0"
