"""`python -m tests.bench.folds --preset NAME --data FILE`: a preset's scores over folds of labelled data, beside the baselines'.

Every fold has about the same share of each label. With --apart, equal texts stand in one fold: a model cannot have learnt by heart
what it is asked, which is harder, and what new texts are like. Publishes nothing.
"""

import argparse
import contextlib
import csv
import io
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from service.artifact import MANIFEST, Manifest
from training.preset import load_config
from training.rows import Row, read_rows
from training.run import main as train


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.folds", description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--data", required=True, help="one file of labelled texts")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the folds: settings are chosen on others than those that are reported"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--apart", action="store_true", help="equal texts in one fold")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.preset, arguments.set, arguments.data)
    rows = list(read_rows(arguments.data, config.data, labelled=True))
    labels, texts = [row.label for row in rows], [" ".join(row.text.split()) for row in rows]
    kind = StratifiedGroupKFold if arguments.apart else StratifiedKFold
    splitter = kind(arguments.folds, shuffle=True, random_state=arguments.seed)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, (learnt, judged) in enumerate(splitter.split(np.zeros(len(rows)), labels, texts), 1):
        manifest = _train_fold(arguments, [rows[i] for i in learnt], [rows[i] for i in judged])
        for score in manifest.scores:
            for who, value in {"this model": score.value, **score.baselines}.items():
                found[score.metric][who].append(value)
        print(f"fold {number}: " + ", ".join(f"{score.metric} {score.value:g}" for score in manifest.scores), flush=True)
    print(f"\nmean of {arguments.folds} folds, {len(rows):,} rows")
    for metric, by in found.items():
        print(
            f"{metric:32s} "
            + "   ".join(f"{who} {np.mean(values):.4f} ({min(values):.4f}..{max(values):.4f})" for who, values in by.items())
        )


def _train_fold(arguments: argparse.Namespace, learnt: list[Row], judged: list[Row]) -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, rows in (("train", learnt), ("test", judged)):
            with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        settings = [word for value in (*arguments.set, "data.columns=null") for word in ("--set", value)]
        command = ["--preset", arguments.preset, "--data", folder, "--text-column", "text", "--label-column", "label", *settings]
        with contextlib.redirect_stdout(io.StringIO()) as told:
            code = train([*command, "--models", str(place / "models"), "--publish", "never"])
        if code:
            raise SystemExit(told.getvalue())
        (manifest,) = place.glob(f"runs/*/model/*/*/{MANIFEST}")
        return Manifest.model_validate_json(manifest.read_bytes())


if __name__ == "__main__":
    main()
