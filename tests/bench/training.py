"""`make bench-training`: our training loop beside PyTorch's word language model example, in one process, in turn.

Prints words a second of both on the same text, with the same vocabulary and as many threads, and writes runs/bench-training.json.
With --profile, where the time of a batch goes; with --race SECONDS, what perplexity the example reaches in that time.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.bench.example import EPOCHS, Example, text_of
from tests.bench.race import Check, Finish, race
from tests.bench.run import machine
from tests.bench.speed import EQUAL, THE_SAME, Ours, Slice, Speed, measure, run_example, where_time_goes
from tests.bench.subject import ROOT
from tests.bench.text import write_sentences
from training.config import Config
from training.corpus import Corpus, load_corpus
from training.errors import TrainingError
from training.preset import load_config

PRESET = "korean-next-word"  # whose reading of text, batch size and precision are what people get
SENTENCE = THE_SAME.model_copy(update={"mode": "sentence"})


def compare(text: str, folder: Path, arguments: argparse.Namespace, console: Console) -> None:
    sentences, stream = (_corpus(text, folder, mode) for mode in ("sentence", "stream"))
    example = run_example(Example(sentences.tokenizer.vocabulary_size, text_of(sentences.train)))
    others = _ours(_config(text, "stream"), sentences, stream)
    if arguments.profile:
        for name, run in {"the example": example, **others}.items():
            console.print(_profile_table(name, where_time_goes(run)))
        return
    speeds = measure(example, others, arguments.seconds, arguments.rounds)
    about = {**machine(arguments.seconds), "threads": torch.get_num_threads(), "torch": torch.__version__, "malloc": _malloc()}
    size = f"V={sentences.tokenizer.vocabulary_size:,}, 2 LSTM layers of {EQUAL.hidden}"
    console.print(_speed_table(speeds, f"{size}; {about['processor']}, threads: {about['threads']}, malloc: {about['malloc']}"))
    out = arguments.out or ROOT / "runs" / "bench-training.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, "speeds": [asdict(speed) for speed in speeds]}
    out.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def run_race(text: str, folder: Path, seconds: float, console: Console) -> None:
    def tell(check: Check) -> None:
        console.print(
            f"{check.epochs:6.2f} epochs  {check.seconds:6.0f} s  rate {check.rate:<8.3g} train loss {check.train_loss:.3f}  "
            f"valid perplexity {check.valid_perplexity:.2f}",
            highlight=False,
        )

    finish = race(_corpus(text, folder, "sentence"), seconds, tell)
    console.print(_told(finish), soft_wrap=True, highlight=False)


def _told(finish: Finish) -> str:
    best, last = finish.best, finish.checks[-1]
    short = "" if last.epochs >= EPOCHS else f" (its defaults are {EPOCHS} epochs, for which this was too short)"
    return (
        f"the example, {last.epochs:.2f} epochs in {last.seconds:.0f} s of training{short}; best after {best.epochs:.2f}, "
        f"valid perplexity {best.valid_perplexity:.2f}\n"
        f"test perplexity {finish.by_sentence:.2f} sentence by sentence, as ours is counted; "
        f"{finish.carried_on:.2f} as one text, as the example counts"
    )


def _ours(config: Config, sentences: Corpus, stream: Corpus) -> dict[str, Slice]:
    """What is measured beside the example: equal in all, then with what we train with by default, one thing more at a time."""
    size = load_config(PRESET).fit.batch_size
    fits = {
        "ours, equal": THE_SAME,
        "ours, bfloat16": THE_SAME.model_copy(update={"precision": "bfloat16"}),
        f"ours, batch {size}": THE_SAME.model_copy(update={"batch_size": size}),
        f"ours, bfloat16, batch {size}": THE_SAME.model_copy(update={"precision": "bfloat16", "batch_size": size}),
        f"ours, sentences, batch {size}": SENTENCE.model_copy(update={"batch_size": size}),
        f"ours, sentences, bfloat16, batch {size}": SENTENCE.model_copy(update={"precision": "bfloat16", "batch_size": size}),
    }
    return {
        name: Ours(config.model_copy(update={"fit": fit}), stream if fit.mode == "stream" else sentences)
        for name, fit in fits.items()
    }


def _corpus(text: str, folder: Path, mode: str) -> Corpus:
    place = folder / mode
    place.mkdir()
    return load_corpus(_config(text, mode), place)


def _config(text: str, mode: str) -> Config:
    """The preset's words, and the example's sizes."""
    config = load_config(PRESET, data=text)
    return config.model_copy(update={"model": EQUAL, "fit": THE_SAME.model_copy(update={"mode": mode})})


def _malloc() -> str:
    preloaded = [Path(library).name for library in os.environ.get("LD_PRELOAD", "").split()]
    return ", ".join(preloaded) or "the system's"


def _speed_table(speeds: list[Speed], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("what", "words/s", "of the example", "words/cpu s", "of the example"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for speed in speeds:
        ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (speed.ratio, speed.cpu_ratio)]
        table.add_row(speed.what, f"{speed.per_s:,.0f}", ratios[0], f"{speed.per_cpu_s:,.0f}", ratios[1])
    return table


def _profile_table(name: str, spent: list[tuple[str, float]]) -> Table:
    whole = sum(ms for _, ms in spent)
    table = Table(title=f"{name}: {whole:.1f} ms a batch", title_justify="left")
    for column in ("operation", "ms", "share"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for operation, ms in spent:
        table.add_row(operation, f"{ms:.1f}", f"{ms / whole:.0%}")
    return table


@contextmanager
def _text(given: str | None) -> Iterator[tuple[str, Path]]:
    """Where the text is, and a folder to work in."""
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
        if given is None:
            generated = Path(folder) / "text"
            generated.mkdir()
            write_sentences(generated)
            given = str(generated)
        yield given, Path(folder)


def main() -> int:
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with _text(arguments.data) as (text, folder):
            if arguments.race is not None:
                run_race(text, folder, arguments.race, console)
            else:
                compare(text, folder, arguments, console)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-training", description=__doc__)
    parser.add_argument("--data", help="sentences, one a line: a .txt file, or a folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of every measurement (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="of each (default: 1)")
    parser.add_argument("--profile", action="store_true", help="where the time of a batch goes, in place of the comparison")
    parser.add_argument("--race", type=float, metavar="SECONDS", help="train the example for so long and tell its test perplexity")
    parser.add_argument("--out", type=Path, help="where to write the figures (default: runs/bench-training.json)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
