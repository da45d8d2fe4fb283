"""tests.walk.pages: what a person would type, and no more."""

from pathlib import Path

from tests.conftest import ROOT
from tests.walk.pages import Command, commands


def test_a_block_is_its_commands_and_the_answer_that_follows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    blocks = {
        "make serve    # starts\n": "sh",
        "# only said\ncurl -s a \\\n  -d '{}'\n": "sh",
        '{"a": 1}\n': "json",
        "no\n": "text",
    }
    page.write_text("".join(f"text\n```{language}\n{block}```\n" for block, language in blocks.items()))
    assert commands(page) == [Command("make serve", None), Command("curl -s a -d '{}'", '{"a": 1}\n')]


def test_the_readme_has_a_newcomer_serve_ask_and_train() -> None:
    lines = [command.line for command in commands(ROOT / "README.md")]
    assert lines[0] == "make serve"
    assert any(line.startswith("curl") and "/generate" in line for line in lines)
    assert any(line.startswith("make train ARGS=") for line in lines)
