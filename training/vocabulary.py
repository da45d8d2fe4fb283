"""Which words a model knows, and the pipeline of `tokenizer.json` that finds them. What serving reads is service.text's."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from service import text
from training.config import TextConfig
from training.errors import DataError

# A word is letters, digits and their marks; anything else is a word of its own. ▁ stands for the space before it.
_WORDS_AND_MARKS = r"▁?[\p{L}\p{N}\p{M}]+|▁?[^\p{L}\p{N}\p{M}▁]"
_MARKS = r"[^\p{L}\p{N}\p{M}\s]"

# Between two spaces, these letters alone are one word under every setting: no mark, no capital, nothing to compose. Most text is
# made of them, and need not be asked about run by run. As long as a word may be.
PLAIN = re.compile(r"[a-z가-힣]{1,1000}")

# What is held while words are counted: 100 to 200 bytes each.
_KEPT_RUNS = 2**18
_RUNS_TOGETHER = 100
_KEPT_WORDS = 2**18  # or twice as many as the vocabulary has
_LONGEST_WORD = 1001  # characters, the space before it among them: a longer one is no word, but what has no spaces
_LEARNT_WORDS = 50_000_000  # words of the text that parts of words are learnt from; of more, every count is scaled down alike
_LONG_TEXT = 2**20  # characters: what a text like this leaves in memory is not left there


def build_vocabulary(texts: Iterable[str], config: TextConfig, with_end: bool) -> text.Tokenizer:
    """A tokenizer with the most frequent words of texts, or characters, or parts of words, as config.unit says.

    Ids: padding 0, unknown 1, the end of a sentence 2 where with_end, then words, the most frequent first; of equally frequent ones
    in the order of their characters. Raises DataError where no word is left.
    """
    special = [text.PADDING, text.UNKNOWN, *([text.END] if with_end else [])]
    counter = _Counter(_pipeline(models.WordLevel({}, unk_token=text.UNKNOWN), config), config)
    for one in texts:
        counter.add(one)
    counts = counter.words()
    frequent = [word for word in counts if counts[word] >= config.min_count]
    known = sorted(frequent, key=lambda word: (-counts[word], word))[: config.max_words]
    if not known:
        raise DataError(f"no word of the training text occurs {config.min_count} times or more (text.min_count)")
    if config.unit == "char" and text.SPACE not in known:
        known = [*known[: config.max_words - 1], text.SPACE]  # stands before every text
    if config.unit == "subword":
        return text.Tokenizer(_pipeline(_pair_encoding(counts, config, special), config))
    vocabulary = {word: number for number, word in enumerate([*special, *known])}
    return text.Tokenizer(_pipeline(models.WordLevel(vocabulary, unk_token=text.UNKNOWN), config))


def _pair_encoding(counts: Counter[str], config: TextConfig, special: list[str]) -> models.BPE:
    """Parts of words: from characters on, the two that stand together most often become one (Sennrich et al. 2016)."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    often = sum(count >= config.min_count for count in characters.values())
    trainer = trainers.BpeTrainer(
        vocab_size=config.max_words + 1,
        special_tokens=[text.UNKNOWN],
        min_frequency=max(2, config.min_count),
        limit_alphabet=min(often, config.max_words // 2),
        show_progress=False,
    )
    learnt = Tokenizer(models.BPE(unk_token=text.UNKNOWN))
    learnt.pre_tokenizer = pre_tokenizers.Split("\n", behavior="removed")  # words that were counted hold none
    scale = max(1, counts.total() // _LEARNT_WORDS)
    learnt.train_from_iterator(("\n".join([word] * -(-count // scale)) for word, count in counts.items()), trainer)
    pieces: Counter[str] = Counter(dict.fromkeys(learnt.get_vocab(), 0))
    for word, count in counts.items():
        for piece in learnt.encode(word).tokens:
            pieces[piece] += count
    pieces.pop(text.UNKNOWN, None)
    ordered = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    merges = [tuple(merge) for merge in json.loads(learnt.to_str())["model"]["merges"]]
    return models.BPE({piece: number for number, piece in enumerate([*special, *ordered])}, merges, unk_token=text.UNKNOWN)


class _Counter:
    """How often words occur, in bounded memory however long the text is.

    What stands between two spaces is counted as it is, and read by the pipeline once for many times that it occurs. Where there
    are more different words than are kept, the rarest are forgotten: their counts, should they come again, are too small, those
    of the words that make the vocabulary hardly ever (Manku and Motwani 2002, lossy counting).
    """

    def __init__(self, pipeline: Tokenizer, config: TextConfig) -> None:
        self._pipeline, self._whole = pipeline, config.unit != "char"
        self._runs: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._most_words = max(_KEPT_WORDS, 2 * config.max_words)

    def add(self, one: str) -> None:
        self._runs.update(one.split(" "))
        if len(self._runs) > _KEPT_RUNS or len(one) > _LONG_TEXT:
            self._read_runs()

    def words(self) -> Counter[str]:
        self._read_runs()
        return self._words

    def _read_runs(self) -> None:
        normalise, cut = self._pipeline.normalizer.normalize_str, self._pipeline.pre_tokenizer.pre_tokenize_str
        alike: dict[int, list[str]] = defaultdict(list)  # by how often they occur: read together, which takes half the time
        for run, count in self._runs.items():
            if self._whole and PLAIN.fullmatch(run):
                self._words[f"{text.SPACE}{run}"] += count
            else:
                alike[count].append(run)
        self._runs = Counter()
        for count, runs in alike.items():
            for start in range(0, len(runs), _RUNS_TOGETHER):
                for word, _ in cut(normalise(" ".join(runs[start : start + _RUNS_TOGETHER]))):
                    if len(word) <= _LONGEST_WORD:
                        self._words[word] += count
            self._forget()
        self._forget()

    def _forget(self) -> None:
        if len(self._words) > 2 * self._most_words:
            self._words = Counter(dict(self._words.most_common(self._most_words)))


def _pipeline(model: models.WordLevel | models.BPE, config: TextConfig) -> Tokenizer:
    tokenizer = Tokenizer(model)
    steps: list[normalizers.Normalizer] = [normalizers.Replace(text.SPACE, " ")]
    if config.lowercase:
        steps.append(normalizers.Lowercase())
    steps.append(normalizers.NFC())  # last: a small letter may compose where its capital does not
    if config.punctuation == "drop":
        steps.append(normalizers.Replace(Regex(_MARKS), " "))
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = pre_tokenizers.Metaspace(replacement=text.SPACE, prepend_scheme="always", split=True)
    within = "." if config.unit == "char" else _WORDS_AND_MARKS if config.punctuation == "split" else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, _pieces(within)]) if within else words
    tokenizer.decoder = decoders.Metaspace(replacement=text.SPACE, prepend_scheme="always")
    return tokenizer


def _pieces(pattern: str) -> pre_tokenizers.Split:
    """Every match of the pattern is a word of its own."""
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")
