"""The model's own limit: plain onnxruntime loops over the same graph, without service, batching or HTTP."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from service.artifact import Artifact
from service.inference.runtime import pad, pad_words
from service.words import Words

TOGETHER = 32  # texts that are there at once, to be grouped as one likes


def open_session(loaded: Artifact) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(loaded.graph, options, providers=["CPUExecutionProvider"])


def words_per_s(loaded: Artifact, prompts: list[str], seconds: float) -> float:
    """Feeds the graph its own state and its likeliest words, a row for every prompt; reading the prompts is not counted."""
    session, state = open_session(loaded), loaded.manifest.state
    outputs = ["logits", *(part.output for part in state)]
    shape = (loaded.manifest.layers, len(prompts), loaded.manifest.sizes.hidden)
    ids, lengths = pad([loaded.tokenizer.encode_prompt(prompt).ids for prompt in prompts], 0)
    # A graph that takes the rows whose next word is wanted is told: all.
    fixed = {"wanted": np.arange(len(prompts))} if any(tensor.name == "wanted" for tensor in loaded.manifest.inputs) else {}
    feed = {"ids": ids, "lengths": lengths, **fixed} | {part.input: np.zeros(shape, np.float32) for part in state}
    ones, steps, started_s = np.ones(len(prompts), np.int32), -1, 0.0
    while steps < 1 or time.perf_counter() - started_s < seconds:
        logits, *after = session.run(outputs, feed)
        feed = {"ids": logits.argmax(axis=1)[:, None], "lengths": ones, **fixed}
        feed |= {part.input: value for part, value in zip(state, after, strict=True)}
        steps += 1
        started_s = started_s or time.perf_counter()
    return steps * len(prompts) / (time.perf_counter() - started_s)


def sentences_per_s(loaded: Artifact, sentences: list[str], group: int, seconds: float) -> float:
    """Tokenises TOGETHER sentences at a time, sorts them by length, and runs them in groups of so many."""
    session, done, started_s = open_session(loaded), 0, time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        first = done % (len(sentences) - TOGETHER)
        rows = sorted((loaded.encode(text) for text in sentences[first : first + TOGETHER]), key=lambda words: len(words.ids))
        for at in range(0, TOGETHER, group):
            session.run(["logits"], classifier_feed(loaded, rows[at : at + group]))
        done += TOGETHER
    return done / (time.perf_counter() - started_s)


def classifier_feed(loaded: Artifact, rows: Sequence[Words]) -> dict[str, npt.NDArray[Any]]:
    """What a classifier's graph takes for one batch; characters of unknown words too, where it reads them."""
    ids, lengths, grams = pad_words(rows, 0, loaded.manifest.sizes.vocabulary)
    if loaded.manifest.ngrams is None:
        return {"ids": ids, "lengths": lengths}
    none = np.zeros((1, loaded.manifest.ngrams.slots), np.int64)
    return {"ids": ids, "lengths": lengths, "grams": none if grams is None else grams}
