"""What the README and the docs tell a person to type, and what they say will come of it."""

import re
from pathlib import Path
from typing import NamedTuple

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """One line of a block of `sh`, and the block of `json` that follows it, if one does."""

    line: str
    answer: str | None


def commands(page: Path) -> list[Command]:
    """In the order in which they stand; lines that go on with a backslash are one, and comments are none."""
    found: list[Command] = []
    for language, block in _FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            joined = re.sub(r"\\\n\s*", "", block)
            lines = [re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()]
            found += [Command(line, None) for line in lines if line and not line.startswith("#")]
        elif language == "json" and found:
            found[-1] = found[-1]._replace(answer=block)
    return found
