"""`python -m tests.bench.scale --gigabytes 5`: a text larger than memory becomes batches in memory that does not grow with it.

Writes a file of made-up sentences whose words are as frequent as Zipf has them, loads it as training does, draws some batches, and
scores a small model and its baselines on what was held out; with --task classify the sentences have labels. Prints the time and the
most memory of every phase. The file and what is made of it are deleted at the end.
"""

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from service.artifact import Task
from training.batches import Batch, batches, lanes
from training.config import Config, DataConfig, FitConfig, ModelConfig, TextConfig
from training.corpus import Corpus, load_corpus
from training.evaluate import evaluate
from training.stages import build_model

WORDS, WORDS_KNOWN = 500_000, 20_000
WORDS_A_SENTENCE = 15  # on average
BLOCK = 2**20  # words written at a time
BATCHES, BATCH_SIZE, WINDOW = 2_000, 64, 35


@dataclass
class Phase:
    """What a part of the work took. Memory is this process's: anonymous, and pages of files that the kernel takes back at will."""

    name: str
    seconds: float = 0.0
    cpu_s: float = 0.0
    words: int = 0
    anonymous_kib: int = 0
    file_kib: int = 0


@dataclass
class Watch:
    """Looks at the memory of this process ten times a second, and puts it down to the phase that is on."""

    folder: Path
    phases: list[Phase] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        self.begin(name)
        yield self.phases[-1]
        self.end()

    def begin(self, name: str) -> None:
        """Ends what was on."""
        self.end()
        self.phases.append(Phase(name, -time.perf_counter(), -time.process_time()))

    def end(self) -> None:
        if self.phases and self.phases[-1].seconds < 0:
            self.look()
            self.phases[-1].seconds += time.perf_counter()
            self.phases[-1].cpu_s += time.process_time()

    @contextmanager
    def on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look_on)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def look(self) -> None:
        lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
        memory = {line[0]: int(line[1]) for line in lines if line and line[0] in ("RssAnon:", "RssFile:")}
        if self.phases:
            phase = self.phases[-1]
            phase.anonymous_kib = max(phase.anonymous_kib, memory["RssAnon:"])
            phase.file_kib = max(phase.file_kib, memory["RssFile:"])

    def _look_on(self) -> None:
        while not self._over.wait(0.1):
            self.look()


def write_sentences(path: Path, gigabytes: float, labelled: bool) -> int:
    """Writes so much text; how many words it has. The same for the same size, always. A label is told by a sentence's last word."""
    chance = np.random.default_rng(7)
    words = made_up(WORDS, chance)
    inner = np.array([f"{word} " for word in words], object)
    last = np.array([f"{word},{place % 2}\n" if labelled else f"{word}\n" for place, word in enumerate(words)], object)
    share = np.cumsum(1 / np.arange(1, WORDS + 1))
    written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n" if labelled else "")
        while file.tell() < gigabytes * 1e9:
            ids = np.searchsorted(share, chance.random(BLOCK) * share[-1])
            ends = chance.random(BLOCK) < 1 / WORDS_A_SENTENCE
            ends[-1] = True
            file.write("".join(np.where(ends, last[ids], inner[ids]).tolist()))
            written += BLOCK
    return written


def made_up(count: int, chance: np.random.Generator) -> list[str]:
    """Different words of two to four Hangul syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = chance.integers(0xAC00, 0xAC00 + 2_000, (count, 4))
        found |= dict.fromkeys(
            "".join(map(chr, row[:size])) for row, size in zip(syllables, chance.integers(2, 5, count), strict=True)
        )
    return list(found)[:count]


def config_of(text: Path, task: Task) -> Config:
    """A model so small that hardly anything but the data takes room."""
    stream = {"mode": "stream", "window": WINDOW} if task == "generate" else {}
    return Config(
        name="scale",
        task=task,
        description="Made up.",
        source="made up",
        data=DataConfig(train=str(text), valid_fraction=0.01, test_fraction=0.01 if task == "generate" else 0.1),
        text=TextConfig(max_words=WORDS_KNOWN),
        model=ModelConfig(embedding=8, hidden=8),
        fit=FitConfig.model_validate({"batch_size": BATCH_SIZE, **stream}),
    )


def load(watch: Watch, config: Config) -> Corpus:
    """As training does, in two phases: the second begins where encoded texts appear."""
    encoded = watch.folder / "encoded"
    encoded.mkdir()
    watch.begin("count words")
    counting = watch.phases[-1]
    thread = threading.Thread(target=_part, args=(watch, encoded))
    thread.start()
    corpus = load_corpus(config, encoded)
    thread.join()
    watch.end()
    counting.words = watch.phases[-1].words = sum(numbers.words for numbers in corpus.statistics.values())
    return corpus


def _part(watch: Watch, encoded: Path) -> None:
    while not any(encoded.iterdir()):
        time.sleep(0.05)
    watch.begin("encode")


def draw(watch: Watch, name: str, drawn: Iterator[Batch]) -> None:
    with watch.phase(name) as phase:
        phase.words = sum(int(batch.lengths.sum()) for batch in itertools.islice(drawn, BATCHES))


def score(watch: Watch, corpus: Corpus, config: Config) -> None:
    with watch.phase("score it and its baselines") as phase:
        evaluate(build_model(config, corpus), corpus, config)
        phase.words = corpus.test.words


def show(text_bytes: int, phases: list[Phase]) -> None:
    table = Table(
        "phase", *(f"[right]{name}" for name in ("words", "seconds", "CPU s", "words/s", "anonymous MiB", "of files MiB"))
    )
    for phase in phases:
        per_s = phase.words / phase.seconds
        memory = (f"{kib / 1024:,.0f}" for kib in (phase.anonymous_kib, phase.file_kib))
        table.add_row(phase.name, f"{phase.words:,}", f"{phase.seconds:,.1f}", f"{phase.cpu_s:,.1f}", f"{per_s:,.0f}", *memory)
    console = Console(width=110)
    console.print(f"{text_bytes / 1e9:.2f} GB of text")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="size of the text; as much again is needed for its words")
    parser.add_argument("--task", choices=["generate", "classify"], default="generate")
    parser.add_argument("--folder", type=Path, help="where to write it; the default is the system's temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seqserve-scale-", dir=asked.folder) as folder:
        labelled = asked.task == "classify"
        watch, text = Watch(Path(folder)), Path(folder) / ("text.csv" if labelled else "text.txt")
        config = config_of(text, asked.task)
        with watch.on():
            # In a process of its own, so that its memory is not taken for training's.
            with watch.phase("write the text") as phase, ProcessPoolExecutor(1, get_context("spawn")) as apart:
                phase.words = apart.submit(write_sentences, text, asked.gigabytes, labelled).result()
            corpus = load(watch, config)
            ids = {"padding_id": corpus.tokenizer.padding_id, "vocabulary": corpus.tokenizer.vocabulary_size}
            drawn = batches(corpus.train, BATCH_SIZE, generates=not labelled, seed=1, **ids)
            draw(watch, f"{BATCHES:,} batches of sentences", drawn)
            if not labelled:
                draw(watch, f"{BATCHES:,} windows of lanes", lanes(corpus.train, BATCH_SIZE, WINDOW, seed=1))
            score(watch, corpus, config)
        show(text.stat().st_size, watch.phases)


if __name__ == "__main__":
    main()
