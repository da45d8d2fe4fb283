"""`python -m training.run`: data -> train -> best -> export -> verify -> publish, readable top to bottom."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service import artifact
from service.artifact import Artifact, Manifest
from service.errors import ArtifactError
from service.inference.runtime import Runtime
from training import report
from training.config import STARTERS, Config, load_config, preset_names
from training.data import Batch, Corpus, batches, load_corpus
from training.errors import ConfigError, PublishError, TrainingError
from training.evaluate import evaluate
from training.export import Exported, export_classifier, export_language_model
from training.loop import Fitted, Model, fit
from training.manifest import describe
from training.model import Classifier, LanguageModel
from training.parity import check_parity
from training.publish import publish, require_writable


def train(config: Config, preset: str, command: str, models: Path, console: Console) -> Path:
    """One model from its text to models/<name>/<version>/, whose path is returned.

    Raises TrainingError with one line; then nothing is published.
    """
    console.rule(f"{config.name} ({config.task})")
    corpus = load_corpus(config)
    console.print(report.data_table(corpus))

    model = build_model(config, corpus)
    console.print(report.summary_table(model))

    fitted = _fit(model, corpus, config, console)
    scores = evaluate(model, corpus, config.fit.batch_size)
    console.print(report.score_table(scores))

    exported = export_language_model(model) if isinstance(model, LanguageModel) else export_classifier(model, len(corpus.labels))
    manifest = describe(config, corpus, model, exported, fitted, scores, preset, command)
    runtime = _open(manifest, corpus, exported)
    worst = check_parity(model, runtime)
    console.print(f"onnxruntime and torch agree to {worst:.1g} of the largest logit")

    path = publish(models, manifest, _files(config, corpus, exported, manifest, fitted))
    size = sum(file.stat().st_size for file in path.iterdir())
    published = f"[bold]published {escape(str(path))}[/bold] ({size / 1e6:.1f} MB)"
    console.print(f"{published}; a service started from now on serves it", soft_wrap=True)
    return path


def build_model(config: Config, corpus: Corpus) -> Model:
    """An untrained model of the right size; the seed decides its weights."""
    torch.manual_seed(config.seed)
    vocabulary, padding = corpus.tokenizer.vocabulary_size, corpus.tokenizer.padding_id
    if config.task == "generate":
        return LanguageModel(config.model, vocabulary, padding)
    return Classifier(config.model, vocabulary, padding, len(corpus.labels))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 published, 2 something was wrong and nothing was published."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=False)
    started = time.monotonic()
    try:
        # Every configuration is read before the first model is trained.
        if not arguments.preset and (arguments.data is not None or arguments.name is not None):
            raise ConfigError("--data and --name need --preset: without one, both starter models are trained on their own text")
        presets = [arguments.preset] if arguments.preset else STARTERS
        configs = [(preset, load_config(preset, _overrides(arguments), arguments.data)) for preset in presets]
        require_writable(Path(arguments.models))
        for preset, config in configs:
            train(config, preset, _command(preset, arguments), Path(arguments.models), console)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # torch's word for too little memory is RuntimeError
        print(f"error: training failed: {(str(error) or repr(error)).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: stopped by hand; nothing was published", file=sys.stderr)
        return 130
    console.print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def _fit(model: Model, corpus: Corpus, config: Config, console: Console) -> Fitted:
    generates, padding, size = config.task == "generate", corpus.tokenizer.padding_id, config.fit.batch_size
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )

    def epoch_batches(number: int) -> Iterable[Batch]:
        return batches(corpus.train, size, padding, generates, seed=config.seed * 1_000_003 + number)

    with Progress(*columns, console=console) as bar:
        shown = bar.add_task("training", total=config.fit.epochs, epoch=1, loss=float("nan"))
        fitted = fit(
            model,
            epoch_batches,
            partial(batches, corpus.valid, size, padding, generates) if corpus.valid else None,
            -(-len(corpus.train) // size),
            config.fit,
            lambda number, share, loss: bar.update(shown, completed=number - 1 + share, epoch=number, loss=loss),
        )
    best = fitted.best
    judged = "" if best.valid_loss is None else f", valid loss {best.valid_loss:.3f}"
    speed = max(epoch.words_per_s for epoch in fitted.history)
    console.print(
        f"{len(fitted.history)} epochs in {fitted.seconds:.0f} s, {speed:,.0f} words/s; "
        f"best epoch {best.number}: train loss {best.train_loss:.3f}{judged}",
        soft_wrap=True,
    )
    return fitted


def _open(manifest: Manifest, corpus: Corpus, exported: Exported) -> Runtime:
    try:
        return Runtime(Artifact(Path(manifest.name), manifest, corpus.tokenizer, exported.graph))
    except ArtifactError as error:
        raise PublishError(f"the exported graph is refused: {error}") from error


def _files(config: Config, corpus: Corpus, exported: Exported, manifest: Manifest, fitted: Fitted) -> dict[str, bytes]:
    """Everything in the folder but the manifest."""
    return {
        artifact.GRAPH: exported.graph,
        artifact.TOKENIZER: corpus.tokenizer.to_json().encode(),
        artifact.CURVES: report.curves(fitted.history, fitted.best, config.name),
        artifact.CARD: report.model_card(manifest).encode(),
    }


def _overrides(arguments: argparse.Namespace) -> list[str]:
    named = {"data.text_column": arguments.text_column, "data.label_column": arguments.label_column, "name": arguments.name}
    typed = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in named.items() if value is not None]
    return [*typed, *arguments.set]


def _command(preset: str, arguments: argparse.Namespace) -> str:
    """What to type to train the model again. The data's folder is left out: it says something about a person, not the model."""
    words = ["python", "-m", "training.run", "--preset", preset]
    words += ["--data", Path(arguments.data).name] if arguments.data else []
    named = {"--text-column": arguments.text_column, "--label-column": arguments.label_column, "--name": arguments.name}
    words += [word for option, value in named.items() if value is not None for word in (option, value)]
    words += [word for override in arguments.set for word in ("--set", _without_folder(override))]
    return shlex.join(words)


def _without_folder(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}={Path(value).name}" if key.strip().removeprefix("data.") in ("train", "valid", "test") else override


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a model on your own text and publish it as the next version in models/.\n"
        "Without arguments: the two starter models, in about a minute.",
        epilog="examples:\n"
        "  python -m training.run\n"
        "  python -m training.run --preset korean-next-word --data sentences.txt --name my-sentences\n"
        "  python -m training.run --preset korean-sentiment --data reviews.csv --text-column review --label-column stars \\\n"
        "      --name my-reviews --set hidden=64 --set fit.epochs=5\n\n"
        f"presets: {', '.join(preset_names())}\n"
        "exit codes: 0 published; 2 something was wrong, said in one line, and nothing was published",
    )
    parser.add_argument("--preset", metavar="NAME", help="what to train and how (training/presets/NAME.yaml)")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help=".txt (a sentence a line), .csv, .tsv, .jsonl or .parquet; or a folder with train.*, and perhaps valid.* and test.*",
    )
    parser.add_argument("--text-column", metavar="COLUMN", help="the column with the text, where a file has columns")
    parser.add_argument("--label-column", metavar="COLUMN", help="the column with the label, for classification")
    parser.add_argument("--name", metavar="NAME", help="publish as models/NAME instead of under the preset's name")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change one value of the preset, e.g. model.hidden=64; repeatable",
    )
    parser.add_argument("--models", metavar="DIR", default="models", help="where to publish (default: models)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
