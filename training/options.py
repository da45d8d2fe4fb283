"""The command line of `python -m training.run`: what may be typed, and what to type to make a model again."""

import argparse
import json
import shlex
from pathlib import Path

from accelerate.tracking import get_available_trackers

from training import hub
from training.config import HUB, SPLITS
from training.errors import ConfigError
from training.folder import Plan
from training.preset import STARTERS, load_config, preset_names

TRACKERS = ("tensorboard", "mlflow")


def plans_of(arguments: argparse.Namespace) -> list[Plan]:
    """Every configuration, before the first model is trained. Raises ConfigError, naming the option."""
    alone = ("data", "name", "unlabelled")
    given = [option for option in alone if getattr(arguments, option) is not None]
    if not arguments.preset and given:
        raise ConfigError("--data and --name need --preset: without one, both starter models are trained on their own text")
    presets = [arguments.preset] if arguments.preset else STARTERS
    return [
        Plan(
            preset=preset,
            command=_command(preset, arguments),
            models=str(Path(arguments.models or "models").absolute()),
            config=load_config(preset, _overrides(arguments), arguments.data),
        )
        for preset in presets
    ]


def require_tracker(name: str | None) -> None:
    """Raises ConfigError where what is to keep the figures is not installed; accelerate would go on without a word."""
    if name is not None and name not in [tracker.value for tracker in get_available_trackers()]:
        raise ConfigError(f"--track {name}: is not installed; install the package {name}, or leave --track out")


def refuse_beside_resume(arguments: argparse.Namespace) -> None:
    """A run that is resumed is what it was. Raises ConfigError."""
    for option in ("preset", "data", "name", "unlabelled", "text_column", "label_column", "set", "runs", "dry_run"):
        if getattr(arguments, option):
            raise ConfigError(f"--{option.replace('_', '-')}: a run that is resumed keeps what it was begun with; leave it out")


def _overrides(arguments: argparse.Namespace) -> list[str]:
    named = {
        "data.text_column": arguments.text_column,
        "data.label_column": arguments.label_column,
        "data.unlabelled": arguments.unlabelled,
        "name": arguments.name,
    }
    typed = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in named.items() if value is not None]
    return [*typed, *arguments.set]


def _command(preset: str, arguments: argparse.Namespace) -> str:
    """What to type to train the model again. The data's folder is left out: it says something about a person, not the model."""
    words = ["python", "-m", "training.run", "--preset", preset]
    named = {
        "--data": arguments.data and _last_part(arguments.data),
        "--unlabelled": arguments.unlabelled and _last_part(arguments.unlabelled),
        "--text-column": arguments.text_column,
        "--label-column": arguments.label_column,
        "--name": arguments.name,
    }
    words += [word for option, value in named.items() if value is not None for word in (option, value)]
    words += [word for override in arguments.set for word in ("--set", _without_folder(override))]
    return shlex.join(words)


def _last_part(place: str) -> str:
    """What a file or folder is called. A data set of the hub keeps its author's name."""
    if not place.startswith(HUB):
        return Path(place).name
    return place if hub.folder_of(place) is None else f"{HUB}{Path(place.removeprefix(HUB)).name}"


def _without_folder(override: str) -> str:
    key, _, value = override.partition("=")
    holds_a_path = key.strip().removeprefix("data.") in SPLITS
    return f"{key}={_last_part(value)}" if holds_a_path else override


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a model on your own text and publish it as the next version in models/.\n"
        "Without arguments: the two starter models, in about a minute.",
        epilog="examples:\n"
        "  python -m training.run\n"
        "  python -m training.run --preset korean-next-word --data sentences.txt --name my-sentences --dry-run\n"
        "  python -m training.run --preset korean-sentiment --data reviews.csv --text-column review --label-column stars \\\n"
        "      --name my-reviews --set hidden=64 --set fit.epochs=5\n"
        "  torchrun --nproc-per-node 2 -m training.run --preset korean-next-word --data sentences.txt\n\n"
        f"presets: {', '.join(preset_names())}\n"
        "exit codes: 0 published (or, with --publish never, trained); 2 something was wrong, said in one line, and nothing was\n"
        "published; 3 trained, but worse than the version that serves, and so not published; 130 stopped by hand.\n"
        "Under torchrun every code but 0 is 1",
    )
    parser.add_argument("--preset", metavar="NAME", help="what to train and how (training/presets/NAME.yaml)")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help=".txt (a sentence a line), .csv, .tsv, .jsonl or .parquet; a folder with train.*, and perhaps valid.*, test.* and "
        "unlabelled.*; or hub:NAME or hub:NAME:CONFIGURATION, a data set of the Hugging Face hub",
    )
    parser.add_argument("--unlabelled", metavar="PATH", help="texts without labels, for presets that pre-train on them")
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
    parser.add_argument("--models", metavar="DIR", help="where to publish (default: models)")
    parser.add_argument("--runs", metavar="DIR", help="where the run's folder is made (default: runs, beside the models)")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, given its folder; or publish a finished one"
    )
    parser.add_argument(
        "--publish",
        choices=("better", "always", "never"),
        default="better",
        help="better (default): unless it does worse on the test data than the version that serves; always; never",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what there is to learn from, and train nothing")
    parser.add_argument(
        "--track", choices=TRACKERS, help="also write the figures for TensorBoard or MLflow, which must be installed"
    )
    return parser
