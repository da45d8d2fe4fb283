"""Which words a model knows, and the pipeline of `tokenizer.json` that finds them. What serving reads is service.text's."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from service import text
from training.config import TextConfig
from training.errors import DataError

# A word is letters, digits and their marks; anything else is a word of its own. ▁ stands for the space before it.
_WORDS_AND_MARKS = r"▁?[\p{L}\p{N}\p{M}]+|▁?[^\p{L}\p{N}\p{M}▁]"
_MARKS = r"[^\p{L}\p{N}\p{M}\s]"


def build_vocabulary(texts: Iterable[str], config: TextConfig, with_end: bool) -> text.Tokenizer:
    """A tokenizer with the most frequent words of texts, which are those of the training split alone.

    Ids: padding 0, unknown 1, the end of a sentence 2 where with_end, then words, the most frequent first.
    Raises DataError where no word is left.
    """
    special = [text.PADDING, text.UNKNOWN, *([text.END] if with_end else [])]
    counter = _pipeline(models.WordLevel({}, unk_token=text.UNKNOWN), config)
    counter.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(
            vocab_size=config.max_words + len(special), min_frequency=config.min_count, show_progress=False, special_tokens=special
        ),
    )
    # Built afresh from the words: what the trainer leaves has the special words as added tokens, which a text could name.
    vocabulary = counter.get_vocab()
    if len(vocabulary) == len(special):
        raise DataError(f"no word of the training text occurs {config.min_count} times or more (text.min_count)")
    return text.Tokenizer(_pipeline(models.WordLevel(vocabulary, unk_token=text.UNKNOWN), config))


def _pipeline(model: models.WordLevel, config: TextConfig) -> Tokenizer:
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
    marks = pre_tokenizers.Split(Regex(_WORDS_AND_MARKS), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, marks]) if config.punctuation == "split" else words
    tokenizer.decoder = decoders.Metaspace(replacement=text.SPACE, prepend_scheme="always")
    return tokenizer
