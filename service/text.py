"""CONTRACT between training and serving: text to ids and back, by one function for both.

Owns what the words of `tokenizer.json` mean. Does not know how a vocabulary is chosen (training.vocabulary) nor what a model
does with the ids.

A word that follows a space is stored with a leading `▁` (U+2581), one that is attached to its forerunner (a full stop, say)
without. Joining the words and writing a space for every `▁` therefore gives the normalised text back exactly.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import tokenizers

from service.memory import keep

PADDING = "<pad>"
UNKNOWN = "<unk>"
END = "</s>"
SPACE = "▁"

# What stands between two spaces is read the same wherever it stands: by the library once, from memory from then on, which costs a
# tenth. Spaces are what the library's normaliser folds into one (Unicode's White_Space; Python's \s has four characters more), and
# NUL, which is none of any text.
_RUNS = re.compile(r"[^\0\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000▁]+")
_KEPT_CHARACTERS = 40
_KEPT_KNOWN = 32_768  # about 6 MB
_KEPT_UNKNOWN = 4_096  # they seldom come again


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as ids; unknown: the words that the vocabulary lacks, by their place among the ids."""

    ids: list[int]
    unknown: dict[int, str]

    @property
    def unknown_words(self) -> list[str]:
        """In order, each once."""
        return list(dict.fromkeys(self.unknown.values()))

    def keep_last(self, count: int, begun: int) -> "Encoded":
        """The last count ids, after the first begun ones, which stand before any text."""
        cut = max(0, len(self.ids) - begun - count)
        ids = [*self.ids[:begun], *self.ids[begun + cut :]]
        return Encoded(ids, {place - cut: word for place, word in self.unknown.items() if place >= begun + cut})

    def numbered(self, first: int) -> tuple[list[int], list[str]]:
        """The ids with every unknown word as first plus its place among the text's different unknown words, and these words."""
        if not self.unknown:
            return self.ids, []
        words = list(dict.fromkeys(self.unknown.values()))
        places = {word: first + place for place, word in enumerate(words)}
        ids = self.ids.copy()
        for at, word in self.unknown.items():
            ids[at] = places[word]
        return ids, words


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the words between spaces stand in a text, in characters: each is read the same whatever stands beside it."""
    return (found.span() for found in _RUNS.finditer(text))


def joined(parts: Iterable[Encoded]) -> Encoded:
    """Texts, one after another with a space between them, as one."""
    ids: list[int] = []
    unknown: dict[int, str] = {}
    for part in parts:
        unknown |= {len(ids) + place: word for place, word in part.unknown.items()}
        ids += part.ids
    return Encoded(ids, unknown)


def character_ngrams(word: str, longest: int, buckets: int, slots: int) -> list[int]:
    """The rows (slots) of a table of runs of characters that describe a word: up to longest characters each, with marks where the
    word begins and ends, hashed to 1..buckets (Bojanowski et al. 2017, section 3.2); 0 where the word is too short to fill a slot.

    Of a word with more runs than slots those are taken that lie evenly over all of them. The space before a word is not looked at.
    """
    marked = f"<{word.removeprefix(SPACE)}>"
    # Which runs are taken is known before any is made: a word may be a million characters. A mark alone is no run.
    counts = [len(marked) - 2, *(max(0, len(marked) - size + 1) for size in range(2, longest + 1))]
    total = sum(counts)
    rows, size, before = [], 1, 0
    for number in range(min(total, slots)):
        place = number if total <= slots else number * total // slots
        while place - before >= counts[size - 1]:
            before, size = before + counts[size - 1], size + 1
        at = place - before + (size == 1)
        rows.append(zlib.crc32(marked[at : at + size].encode()) % buckets + 1)
    return rows + [0] * (slots - len(rows))


class Tokenizer:
    """Text to ids and back for one model.

    Special words are no part of any text: `<pad>` typed by a user is read as ordinary characters.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Raises ValueError where the vocabulary is not one of ours."""
        if backend.get_vocab_size(with_added_tokens=True) != backend.get_vocab_size(with_added_tokens=False):
            raise ValueError("its tokenizer has added tokens, which a text could name")
        padding_id, unknown_id = backend.token_to_id(PADDING), backend.token_to_id(UNKNOWN)
        if padding_id is None or unknown_id is None:
            raise ValueError(f"its tokenizer lacks {PADDING} or {UNKNOWN}")
        if getattr(backend.model, "unk_token", None) != UNKNOWN:
            raise ValueError(f"its tokenizer reads unknown words as something else than {UNKNOWN} (unk_token)")
        self._backend = backend
        # What was read before: all of whose words are known, and the others.
        self._known: dict[str, list[int]] = {}
        self._unknown: dict[str, Encoded] = {}
        self.padding_id: int = padding_id
        self.unknown_id: int = unknown_id
        self.end_id: int | None = backend.token_to_id(END)
        words = sorted((word_id, word) for word, word_id in backend.get_vocab(with_added_tokens=False).items())
        if [word_id for word_id, _ in words] != list(range(len(words))):
            raise ValueError("its tokenizer's ids have gaps")
        self.special_ids = frozenset(i for i in (padding_id, unknown_id, self.end_id) if i is not None)
        self._pieces = [word.replace(SPACE, " ") for _, word in words]

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Reads tokenizer.json. Raises ValueError where it is not one of ours."""
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"its tokenizer cannot be read: {error}") from error
        return cls(backend)

    def to_json(self) -> str:
        return self._backend.to_str(pretty=True)

    @property
    def vocabulary_size(self) -> int:
        """All ids, special ones included."""
        return len(self._pieces)

    def normalise(self, text: str) -> str:
        """The text as the model sees it: NFC, white space and NUL folded, and what else its preset says."""
        normalizer, text = self._backend.normalizer, text.replace("\0", " ")
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def encode(self, text: str) -> Encoded:
        """The ids of a text's words; decode() of them is normalise(text) where every word is known."""
        runs = _RUNS.findall(text)
        try:
            return Encoded(list(chain.from_iterable(map(self._known.__getitem__, runs))), {})
        except KeyError:
            return self._encode_new(runs)

    def _encode_new(self, runs: list[str]) -> Encoded:
        """As encode(), where the library has to be asked or a word is unknown."""
        ids: list[int] = []
        unknown: dict[int, str] = {}
        for run in runs:
            known = self._known.get(run)
            if known is None:
                found = self._unknown.get(run) or self._look_up(run)
                unknown |= {len(ids) + place: word for place, word in found.unknown.items()}
                known = found.ids
            ids += known
        return Encoded(ids, unknown)

    def _look_up(self, run: str) -> Encoded:
        """What the library makes of letters between two spaces; kept, as most texts are made of what was seen before."""
        # Normalised first, so that places in the text are places in what the model reads.
        normalised = self.normalise(run)
        encoding = self._backend.encode(normalised, add_special_tokens=False)
        words = enumerate(zip(encoding.ids, encoding.offsets, strict=True))
        unknown = {i: normalised[start:end].strip(" ") for i, (word, (start, end)) in words if word == self.unknown_id}
        found = Encoded(encoding.ids, unknown)
        if len(run) <= _KEPT_CHARACTERS:
            if unknown:
                keep(self._unknown, run, found, _KEPT_UNKNOWN)
            else:
                keep(self._known, run, found.ids, _KEPT_KNOWN)
        return found

    def encode_prompt(self, text: str) -> Encoded:
        """As encode(), begun by the end-of-sentence id where the model knows one: a sentence starts where another ended."""
        encoded = self.encode(text)
        if self.end_id is None:
            return encoded
        return Encoded([self.end_id, *encoded.ids], {place + 1: word for place, word in encoded.unknown.items()})

    def piece(self, word_id: int) -> str:
        """What one id adds to a text, its leading space included."""
        return self._pieces[word_id]

    def continuation(self, ids: Iterable[int]) -> str:
        """The text that ids add to the text before them; special ids add nothing."""
        return "".join([self._pieces[i] for i in ids if i not in self.special_ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids that stand alone."""
        return self.continuation(ids).removeprefix(" ")
