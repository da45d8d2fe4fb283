"""Which batches a stage of training gets, in which order. Knows no model."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from training.batches import Batch, batch_count, batches, lane_count, lanes
from training.config import Config
from training.corpus import Corpus
from training.loop import Feed
from training.samples import Samples

EVALUATION_LANES = 10  # stream mode: rows that validation reads side by side


def fitting_feed(config: Config, corpus: Corpus) -> Feed:
    """The training split in a new order every epoch, and the validation split where there is one."""
    size, window = config.fit.batch_size, config.fit.window
    if config.fit.mode == "stream":
        return Feed(
            lambda epoch, start: lanes(corpus.train, size, window, seed=_order(config, epoch), start=start),
            lane_count(corpus.train, size, window),
            partial(evaluation_batches, config, corpus, corpus.valid) if corpus.valid.words else None,
            carries_state=True,
        )
    return Feed(
        lambda epoch, start: _batches(config, corpus, corpus.train, size, _order(config, epoch), start),
        batch_count(corpus.train, size),
        partial(evaluation_batches, config, corpus, corpus.valid) if len(corpus.valid) else None,
    )


def pretraining_feed(config: Config, corpus: Corpus) -> Feed:
    """The texts without labels and those of the training split, in batches of one or the other."""
    return _mixed_feed(
        config,
        corpus,
        [corpus.train] if corpus.unlabelled is None else [corpus.unlabelled, corpus.train],
        config.pretrain.batch_size,
    )


def self_training_feed(config: Config, corpus: Corpus) -> Feed:
    """As pretraining_feed; the target of a text without a label is the number of labels plus its row."""
    assert corpus.unlabelled is not None  # the configuration was checked
    numbered = corpus.unlabelled.with_targets(len(corpus.labels) + np.arange(len(corpus.unlabelled)))
    feed = _mixed_feed(config, corpus, [numbered, corpus.train], config.selftrain.batch_size)
    return replace(feed, valid=fitting_feed(config, corpus).valid)


def _mixed_feed(config: Config, corpus: Corpus, sources: list[Samples], size: int) -> Feed:
    """Batches of every source, mixed by chance."""
    counts = [batch_count(samples, size) for samples in sources]

    def epoch_batches(epoch: int, start: int) -> Iterator[Batch]:
        order = [source for source, count in enumerate(counts) for _ in range(count)]
        random.Random(_order(config, epoch)).shuffle(order)
        passed = [order[:start].count(source) for source in range(len(sources))]
        streams = [
            _batches(config, corpus, samples, size, _order(config, epoch), start=done)
            for samples, done in zip(sources, passed, strict=True)
        ]
        return (next(streams[source]) for source in order[start:])

    return Feed(epoch_batches, sum(counts))


def evaluation_batches(config: Config, corpus: Corpus, samples: Samples) -> Iterable[Batch]:
    """All of samples once, in no random order."""
    if config.fit.mode == "stream":
        return lanes(samples, evaluation_lanes(config, samples), config.fit.window)
    # Texts that are scored are not cut as those that are learnt from: no batch of them is larger for it.
    longest = int(samples.lengths.max(initial=1))
    return _batches(config, corpus, samples, max(1, config.fit.batch_size * min(longest, config.text.max_length) // longest))


def evaluation_lanes(config: Config, samples: Samples) -> int:
    """A short text has fewer lanes, so that each has a window."""
    return max(1, min(EVALUATION_LANES, samples.words // config.fit.window))


def _batches(
    config: Config, corpus: Corpus, samples: Samples, size: int, seed: int | None = None, start: int = 0
) -> Iterator[Batch]:
    tokenizer = corpus.tokenizer
    return batches(
        samples,
        size,
        padding_id=tokenizer.padding_id,
        vocabulary=tokenizer.vocabulary_size,
        generates=config.task == "generate",
        seed=seed,
        start=start,
    )


def _order(config: Config, epoch: int) -> int:
    return config.seed * 1_000_003 + epoch
