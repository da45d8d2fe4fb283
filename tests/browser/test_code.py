"""The page: what is on screen, as code that does the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browser import expect
from tests.browser.screen import Screen

AWKWARD = """it's "worth" $HOME `ls` \\n 100% 'ok' <b> 재밌다 😀!"""


def code(screen: Screen, kind: str) -> str:
    screen.find(f"#code-{kind}").click()
    return str(screen.find("#code").text_content())


def output(screen: Screen, kind: str, folder: Path) -> str:
    """What the code prints, in a shell or in Python."""
    if kind == "python":
        pytest.importorskip("requests", reason="the code asks with requests")
    text = code(screen, kind)
    command = ["bash", "-c", text] if kind == "curl" else [sys.executable, "-c", text]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout


def printed(kind: str, answer: Any) -> str:
    """What the code prints of an answer."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")) if kind == "curl" else f"{answer}\n"


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_code_of_a_classification_gives_its_answer(kind: str, screen: Screen, tmp_path: Path) -> None:
    screen.tab("classify")
    screen.classify(AWKWARD)
    assert output(screen, kind, tmp_path) == printed(kind, screen.ask("/classify", AWKWARD, details=True))


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_code_of_suggestions_gives_them(kind: str, screen: Screen, tmp_path: Path) -> None:
    screen.write(AWKWARD)
    answer = screen.ask("/generate", AWKWARD, max_new_tokens=1, details=True, top_n_tokens=8)
    assert output(screen, kind, tmp_path) == printed(kind, answer)


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_code_of_a_generation_gives_its_events(kind: str, screen: Screen, tmp_path: Path) -> None:
    screen.generate("이 영화는", way="sample", seed=3, max_new_tokens=5, stop="'\n\"")
    events = [json.loads(line[5:]) for line in output(screen, kind, tmp_path).splitlines() if line]
    assert events[-1]["generated_text"] == screen.answer().removesuffix(" (문장 끝)")
    assert [event["token"]["text"].strip() for event in events if not event["token"]["special"]] == [
        word for word in screen.words() if word != "(문장 끝)"
    ]


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_code_of_a_batch_gives_its_labels(kind: str, screen: Screen, tmp_path: Path) -> None:
    texts = ["연기가 훌륭하다", AWKWARD]
    screen.tab("batch")
    screen.find("#lines").fill("\n".join(texts))
    assert output(screen, kind, tmp_path) == printed(kind, screen.ask("/classify", texts, top_k=1))


@pytest.mark.parametrize("panel", ["write", "classify", "batch"])
def test_where_nothing_is_written_yet_the_code_asks_about_an_example(panel: str, screen: Screen, tmp_path: Path) -> None:
    screen.tab(panel)
    expect(screen.find("#code")).to_contain_text("generate" if panel == "write" else "classify")
    assert "error" not in json.loads(output(screen, "curl", tmp_path))


@pytest.mark.parametrize("context", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_code_is_copied_as_it_stands(screen: Screen) -> None:
    screen.write(AWKWARD)
    for kind in ("python", "curl"):
        text = code(screen, kind)
        screen.find("#code-copy").click()
        expect(screen.find("#code-copy")).to_have_text("복사했습니다.")
        assert screen.page.evaluate("navigator.clipboard.readText()") == text
        expect(screen.find("#code-copy")).to_have_text("복사")
