"""Sentences to train on where none are given: words whose frequencies fall as a language's do (Zipf). Knows no model."""

import random
from itertools import accumulate
from pathlib import Path

VOCABULARY = 10_000
SENTENCES = {"train": 60_000, "valid": 2_000, "test": 2_000}
SHORTEST, LONGEST = 3, 16  # words


def write_sentences(folder: Path) -> None:
    """train.txt, valid.txt and test.txt, the same every time; nothing follows from the words before, so nothing is learnt but
    frequencies: good for speed, and not for perplexity."""
    chance = random.Random(7)
    words = _made_up(chance)
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    for split, count in SENTENCES.items():
        lengths = [chance.randint(SHORTEST, LONGEST) for _ in range(count)]
        drawn = iter(chance.choices(words, cum_weights=weights, k=sum(lengths)))
        lines = [" ".join(next(drawn) for _ in range(length)) for length in lengths]
        if split == "train":
            lines.append(" ".join(words))  # so that every word is in the vocabulary
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _made_up(chance: random.Random) -> list[str]:
    """Different words of two or three Hangul syllables."""
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(chr(chance.randint(0xAC00, 0xD7A3)) for _ in range(chance.randint(2, 3)))] = None
    return list(words)
