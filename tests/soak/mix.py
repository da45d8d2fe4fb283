"""Requests as people send them to the shipped models, in these models' own words. Knows no load."""

import random
from itertools import accumulate
from pathlib import Path

from tests.bench.load import Request, post
from tests.bench.subject import SHIPPED, newest, words_of

GENERATE, STREAM, CLASSIFY = "generate", "stream", "classify"
KINDS = (CLASSIFY, GENERATE, STREAM)
DIFFERENT = 12_000  # requests, before they come round again
WORDS = 8  # of an answer whose length is to be the same every time


class Mix:
    """Two thirds classify, one third generates, of which a quarter streams."""

    def __init__(self, models: Path, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._prompts, self._sentences = (Words(words_of(newest(models, name))) for name in (SHIPPED.generate, SHIPPED.classify))

    def requests(self, count: int = DIFFERENT) -> list[Request]:
        kinds = self._chance.choices(KINDS, weights=(8, 3, 1), k=count)
        return [self._request(kind, self._body(kind)) for kind in kinds]

    def alike(self, kind: str, count: int = DIFFERENT) -> list[Request]:
        """Requests of one kind with as much to do in each, so that what one core carries can be told in one number."""
        if kind == CLASSIFY:
            return [self._request(kind, {"inputs": self._text(self._sentences, 3, 30)}) for _ in range(count)]
        body = {"parameters": {"max_new_tokens": WORDS}}
        return [self._request(kind, {"inputs": self._text(self._prompts, 1, 8), **body}) for _ in range(count)]

    def _request(self, kind: str, body: dict[str, object]) -> Request:
        return post(kind, {STREAM: "/generate_stream"}.get(kind, f"/{kind}"), body)

    def _body(self, kind: str) -> dict[str, object]:
        if kind != CLASSIFY:
            return {"inputs": self._text(self._prompts, 1, 8), "parameters": self._parameters()}
        if self._chance.random() < 0.1:
            return {"inputs": [self._text(self._sentences, 1, 30) for _ in range(self._chance.randint(2, 8))]}
        return {"inputs": self._text(self._sentences, 1, 30)}

    def _parameters(self) -> dict[str, object]:
        parameters: dict[str, object] = {"max_new_tokens": self._chance.choice((1, 2, 4, 8, 16))}
        if self._chance.random() < 0.5:
            chance = self._chance
            parameters |= {
                "temperature": chance.uniform(0.5, 1.5),
                "top_p": chance.uniform(0.5, 0.99),
                "seed": chance.getrandbits(32),
            }
        return parameters

    def _text(self, words: "Words", shortest: int, longest: int) -> str:
        count = self._chance.randint(shortest, longest)
        return " ".join(self._chance.choices(words.words, cum_weights=words.weights, k=count))


class Words:
    """The words of a model, and how much more often than the rarer ones a frequent one is written: as Zipf found, 1 / rank."""

    def __init__(self, words: list[str]) -> None:
        self.words = words  # a vocabulary has the frequent ones first
        self.weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
