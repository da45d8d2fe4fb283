"""tests.walk.pages: what a person would type, and no more."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.walk.pages import Command, commands, is_said, named


def test_a_block_is_its_commands_and_the_answer_that_follows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    blocks = {
        "make serve    # starts\n": "sh",
        "# only said\ncurl -s a \\\n  -d '{}'\n": "sh",
        '{"a": 1}\n': "json",
        "no\n": "text",
        "print(1)\n": "python",
        "1...\n": "text",
    }
    page.write_text("".join(f"text\n```{language}\n{block}```\n" for block, language in blocks.items()))
    assert commands(page) == [
        Command("make serve", None),
        Command("curl -s a -d '{}'", '{"a": 1}\n'),
        Command("print(1)\n", "1...\n", "python", "text"),
    ]


def test_what_a_sentence_names_is_told_apart_from_what_a_block_does(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`make a` and `b`\n```sh\nmake c `d`\n```\n| `make e` |\n```text\n`f`\n```\n")
    assert named(page) == ["make a", "b", "make e"]


def test_the_readme_has_a_newcomer_serve_ask_and_train() -> None:
    lines = [command.line for command in commands(ROOT / "README.md")]
    assert lines[0] == "make serve"
    assert any(line.startswith("curl") and "/generate" in line for line in lines)
    assert any(line.startswith("make train ARGS=") for line in lines)


@pytest.mark.parametrize(
    ("told", "said", "fits"),
    [
        ('{"a": 0.99}', '{"a": 0.9867}', True),
        ('{"a": 0.99}', '{"a": 0.9949}', True),
        ('{"a": 0.99}', '{"a": 0.996}', False),
        ('{"a": 1, "...": "..."}', '{"a": 1, "b": 2}', True),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('{"a": 1, "b": "..."}', '{"a": 1}', False),
        ('[1, "..."]', "[1, 2, 3]", True),
        ('[1, "..."]', "[2, 2, 3]", False),
        ("[1]", "[1, 2]", False),
    ],
)
def test_an_answer_fits_as_exactly_as_it_is_told(told: str, said: str, fits: bool) -> None:
    assert is_said(Command("curl", told), said) is fits


def test_a_text_fits_but_for_what_is_left_open() -> None:
    told = Command("curl", 'data:{"id":"...","n":1}\n\n...\n', form="text")
    assert is_said(told, 'data:{"id":"x","n":1}\n\ndata: 2\n')
    assert not is_said(told, 'data:{"id":"x","n":2}\n\ndata: 2\n')
