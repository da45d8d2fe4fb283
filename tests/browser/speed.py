"""`python -m tests.browser.speed`: from a key press to the suggestions on screen, measured in the page itself.

Every syllable is typed as the browser types it, at the pace of a typist and not before the last one has its suggestions. The space
after a word is told apart: the page has asked by then, and what is suggested after the word is there when the word ends. The
clock is the page's: from the event's own time stamp, when the browser got the key, until the last of the chips has changed.

Chromium holds back what comes after a key press until it has drawn the key, up to a frame of 1/60 s. That depends on the moment of
the key and on the screen, not on the page or the service; so it is measured as it is, and with this switched off.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import cycle

from tests.browser.browser import LAPTOP, opened
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import running

SENTENCES = [
    "이 영화는 정말 재미있고 배우들의 연기가 좋았다",
    "오늘 저녁에 친구와 함께 볼 만한 영화를 찾고 있어요",
    "음악이 아름답고 이야기도 따뜻해서 다시 보고 싶다",
    "기대를 많이 했는데 시간이 아까운 작품이었다",
]
PACE_S = 0.05  # meanwhile nobody else asks the browser for anything
AT_ONCE = "--disable-features=DeferRendererTasksAfterInput"
# Nobody asks the page how far it is, which would keep it from its work: it tells.
WATCH = """
() => {
  window.took = [];
  let pressed = 0;
  let answered = () => {};
  window.expectAnswer = () => { window.answer = new Promise((resolve) => { answered = resolve; }); };
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  const list = document.getElementById("suggestions");
  const seen = () => { window.took.push(performance.now() - pressed); answered(); };
  new MutationObserver(seen).observe(list, { attributes: true, attributeFilter: ["data-after"] });
}
"""


def measure(screen: Screen, keys: int) -> list[tuple[str, float]]:
    """So many key presses: which, and the milliseconds that it took."""
    session = screen.page.context.new_cdp_session(screen.page)
    screen.page.evaluate(WATCH)
    took: list[tuple[str, float]] = []
    for sentence in cycle(SENTENCES):
        screen.find("#text").fill("")
        screen.page.evaluate("window.took = []")
        typed = sentence[: keys - len(took)]
        for syllable in typed:
            screen.page.evaluate("window.expectAnswer()")
            session.send("Input.dispatchKeyEvent", {"type": "keyDown", "key": syllable, "text": syllable})
            time.sleep(PACE_S)
            screen.page.evaluate("window.answer")
            session.send("Input.dispatchKeyEvent", {"type": "keyUp", "key": syllable})
        took += zip(typed, screen.page.evaluate("window.took"), strict=True)
        if len(took) >= keys:
            return took
    raise AssertionError("there is no end of sentences")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(keys: int, *options: str) -> str:
    """Of so many key presses in a browser with these options."""
    with opened(*options) as browser, running(models=ROOT / "models") as process:
        screen = Screen(browser.new_page(viewport=LAPTOP, locale="ko-KR"), process).open()
        measure(screen, 50)  # the first of everything is not what a person feels
        took = measure(screen.open(), keys)
    ends, within = ([ms for key, ms in took if key.isspace() is is_end] for is_end in (True, False))
    return f"a word ends: {spread(ends)}\n{'':37}within a word: {spread(within)}"


def spread(took: Sequence[float]) -> str:
    return ", ".join(f"p{100 * share:g} {quantile(took, share):.1f}" for share in (0.5, 0.9, 0.99)) + f", longest {max(took):.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.speed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", type=int, default=500, help="key presses to measure, twice")
    keys = parser.parse_args().keys
    print(f"from a key press to its suggestions, {keys} keys, ms")
    print(f"  as the browser hands answers over: {report(keys)}")
    print(f"  as soon as they have come:         {report(keys, AT_ONCE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
