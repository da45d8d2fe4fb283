"""`python -m tests.browser.screenshots`: pictures of the page for the documentation, with the models of this repository."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.browser import TELEPHONE, expect, opened
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import running

FOLDER = ROOT / "docs" / "screenshots"
WINDOW = {"width": 1120, "height": 868}
PORT = 8000  # that of the README, since it is seen in the code
MOST_BYTES = 150_000


def suggestions(screen: Screen) -> None:
    screen.write("배우들의 연기가")


def generate(screen: Screen) -> None:
    screen.generate("배우들의 연기가", way="sample", temperature=0.7, top_p=0.9, seed=3, max_new_tokens=18)
    screen.find(".options > summary").click()
    screen.find("#answer .word").nth(4).click()


def classify(screen: Screen) -> None:
    screen.tab("classify")
    screen.classify("배우는 좋은데 이야기가 너무 지루해요. 그래도 음악은 최고였어요!")


PICTURES: dict[str, tuple[Callable[[Screen], None], dict[str, Any]]] = {
    "suggestions": (suggestions, {}),
    "generate": (generate, {"viewport": {"width": 1120, "height": 972}}),
    "classify": (classify, {}),
    "telephone": (suggestions, {"viewport": TELEPHONE, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}),
    "dark": (classify, {"color_scheme": "dark"}),
}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with opened() as browser, running(models=ROOT / "models", port=PORT) as process:
        for name, (act, options) in PICTURES.items():
            context = browser.new_context(**{"locale": "ko-KR", "viewport": WINDOW, "reduced_motion": "reduce", **options})
            screen = Screen(context.new_page(), process).open()
            act(screen)
            for text in ("정말 재미있다", "너무 지루하다") * 30:  # so that the figures have something to tell
                process.client.post("/classify", json={"inputs": text}).raise_for_status()
            expect(screen.find("#live-p50")).not_to_have_text("–")
            path = FOLDER / f"{name}.png"
            screen.page.screenshot(path=path)
            context.close()
            print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size} bytes")
    return int(any((FOLDER / f"{name}.png").stat().st_size > MOST_BYTES for name in PICTURES))


if __name__ == "__main__":
    sys.exit(main())
