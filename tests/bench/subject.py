"""The models that are measured, and texts of their own words. Knows no torch and no HTTP."""

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from service import artifact
from service.artifact import Artifact

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Subject:
    """A model for each route, by name; title is what the table says before what is measured on them."""

    generate: str
    classify: str
    title: str


BENCH = Subject("bench-generate", "bench-classify", "")
SHIPPED = Subject("korean-next-word", "korean-sentiment", "shipped: ")


def newest(models: Path, name: str) -> Artifact:
    return artifact.load(dict(artifact.versions(models))[name][0])


def make_models(models: Path) -> None:
    """In a process of its own, which takes torch and its memory away with it; anew only where what makes them has changed."""
    made = [path.stat().st_mtime for name in (BENCH.generate, BENCH.classify) for path in (models / name).glob("*/manifest.json")]
    sources = [Path(__file__).with_name("model.py"), ROOT / "service" / "artifact.py", *(ROOT / "training").glob("*.py")]
    if not made or max(made) < max(path.stat().st_mtime for path in sources):
        subprocess.run([sys.executable, "-m", "tests.bench.model", str(models)], cwd=ROOT, check=True)


def words_of(loaded: Artifact) -> list[str]:
    """The vocabulary without marks and special words, which a text could not name."""
    tokenizer = loaded.tokenizer
    pieces = (tokenizer.piece(word) for word in range(tokenizer.vocabulary_size))
    return [piece.strip() for piece in pieces if piece.startswith(" ") and piece.strip().isalpha()]


def texts(words: list[str], count: int, shortest: int, longest: int, seed: int = 1) -> list[str]:
    """Texts of so many words, the same ones for the same seed."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(shortest, longest))) for _ in range(count)]
