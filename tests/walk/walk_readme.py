"""`make walk`: the README typed as it stands into a fresh clone. Every command ends well, and says what the README says it will."""

import csv
import itertools
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.walk.clone import PORT, Clone
from tests.walk.pages import commands, is_said

# What needs a container engine or a cluster, and what tries it in its place.
ELSEWHERE = {"make image": "make image-test", "docker": "make image-test", "kubectl": "make audit and tests/deploy"}


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    with socket.socket() as listener:
        if not listener.connect_ex(("127.0.0.1", PORT)):
            pytest.skip(f"port {PORT}, which the README names, is taken")
    clone = Clone(tmp_path)
    _write_texts(tmp_path)
    yield clone
    clone.close()


def _write_texts(folder: Path) -> None:
    """The reader's own: sentences, and reviews with stars."""
    chance = random.Random(1)
    subjects, adverbs, verdicts = (
        ("영화가", "배송이", "노래가", "음식이"),
        ("정말", "너무", "아주", "조금"),
        {"좋아요": 5, "빨라요": 5, "별로예요": 1, "느려요": 1},
    )
    sentences = [" ".join(words) for words in itertools.product(subjects, adverbs, verdicts)] * 4
    chance.shuffle(sentences)
    (folder / "sentences.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["review", "stars"])
        for number, sentence in enumerate(sentences):
            table.writerow([f"{sentence} {number}번", verdicts[sentence.split()[-1]]])


def test_every_command_of_the_readme_works_as_it_stands(clone: Clone) -> None:
    typed = 0
    for command in commands(ROOT / "README.md"):
        if command.line.startswith(tuple(ELSEWHERE)):
            continue
        typed += 1
        if command.line.split()[:2] == ["make", "serve"]:
            clone.serve(command.line)
        else:
            said = clone.run(command.line)
            assert is_said(command, said), f"{command.line}\nsays  {said}\nnot   {command.answer}"
    assert typed >= 8
