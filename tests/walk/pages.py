"""What the README and the docs tell a person to type, and what they say will come of it."""

import json
import re
from pathlib import Path
from typing import NamedTuple

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANYTHING = "..."  # what an answer does not promise


class Command(NamedTuple):
    """One line of a block of `sh`, or a whole block of `python`, and the block of `json` or `text` that follows it, if one does."""

    line: str
    answer: str | None
    language: str = "sh"
    form: str = "json"


def commands(page: Path) -> list[Command]:
    """In the order in which they stand; lines that go on with a backslash are one, and comments are none."""
    found: list[Command] = []
    follows = False
    for language, block in _FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            joined = re.sub(r"\\\n\s*", "", block)
            lines = [re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()]
            found += [Command(line, None) for line in lines if line and not line.startswith("#")]
        elif language == "python":
            found.append(Command(block, None, language))
        elif language in ("json", "text") and follows:
            found[-1] = found[-1]._replace(answer=block, form=language)
        follows = language in ("sh", "python")
    return found


def named(page: Path) -> list[str]:
    """What stands between backticks in the page's sentences and tables: commands, among much else."""
    return re.findall(r"`([^`\n]+)`", _FENCED.sub("", page.read_text(encoding="utf-8")))


def is_said(command: Command, said: str) -> bool:
    """Whether a command that was typed says what its page says it will, numbers as exactly as the page tells them."""
    if command.answer is None:
        return True
    if command.form == "json":
        return _matches(json.loads(command.answer), json.loads(said))
    pattern = re.escape(command.answer.strip()).replace(re.escape(ANYTHING), ".*")
    return re.fullmatch(pattern, said.strip(), re.DOTALL) is not None


def _matches(told: object, found: object) -> bool:
    if told == ANYTHING:
        return True
    if isinstance(told, dict) and isinstance(found, dict):
        shown = told.keys() - {ANYTHING}
        return (ANYTHING in told or shown == found.keys()) and all(
            key in found and _matches(told[key], found[key]) for key in shown
        )
    if isinstance(told, list) and isinstance(found, list):
        if told[-1:] == [ANYTHING]:
            told, found = told[:-1], found[: len(told) - 1]
        return len(told) == len(found) and all(map(_matches, told, found))
    if isinstance(told, float) and isinstance(found, float):
        return told == round(found, len(str(told).partition(".")[2]))
    return told == found
