"""`python -m training.run`: data -> train -> best -> export -> verify -> compare -> publish, readable top to bottom."""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from rich.console import Console
from rich.markup import escape

from service import artifact
from service.artifact import Artifact, Manifest
from service.errors import ArtifactError
from service.inference.runtime import Runtime
from training import card, gate, plots, report
from training.config import Config
from training.corpus import Corpus, load_corpus
from training.errors import PublishError, TrainingError
from training.evaluate import Evaluation, evaluate
from training.export import Exported, export_classifier, export_language_model
from training.folder import MISTAKES, Plan, RunFolder
from training.gate import Candidate, Verdict
from training.manifest import describe
from training.model import Classifier, LanguageModel
from training.options import parser, plans_of, refuse_beside_resume, require_tracker
from training.parity import check_parity
from training.preset import left_out
from training.progress import Fitted
from training.publish import publish, require_writable
from training.stages import Stages, build_model

WORSE = 3  # exit code: trained, and not published
_NO_TRACKER_TAKES = re.compile(r"[^\w. -]")  # signs in a name that MLflow refuses; labels have any


def train(run: RunFolder, accelerator: Accelerator, console: Console, publishing: str) -> bool:
    """One model from its text to models/<name>/<version>/; False where it is worse than the version there, and is not published.

    Raises TrainingError with one line; then nothing is published.
    """
    config = run.plan.config
    _introduce(run.plan, console)
    corpus = load_corpus(config, run.data_folder(accelerator.process_index))
    console.print(report.data_table(corpus, config.text.unit))

    model = build_model(config, corpus)
    console.print(report.summary_table(model))

    model, fitted = Stages(run, corpus, accelerator, console).learn(model)
    if not accelerator.is_main_process:
        return True

    model.settle()  # before it is scored: what is scored is what is published
    evaluation = evaluate(model, corpus, config)
    console.print(report.score_table(evaluation.scores))
    if isinstance(model, Classifier):
        if len(evaluation.labels) <= report.SHOWN_LABELS:
            console.print(report.label_table(evaluation))
        model.calibrate(evaluation.temperature)
        run.write(MISTAKES, report.mistakes(evaluation, corpus))

    exported = export_language_model(model) if isinstance(model, LanguageModel) else export_classifier(model, len(corpus.labels))
    manifest = describe(config, corpus, model, exported, fitted, evaluation.scores, run.plan.preset, run.plan.command)
    candidate = _open(manifest, corpus, exported)
    worst = check_parity(model, candidate.runtime)
    console.print(f"onnxruntime and torch agree to {worst:.1g} of the largest logit")

    verdict = gate.judge(Path(run.plan.models), candidate, corpus.rows("test"), len(corpus.test), _names(config, corpus))
    console.print(verdict.sentence, soft_wrap=True)
    _keep_figures(run, accelerator, evaluation, verdict)
    files = _files(config, corpus, exported, manifest, fitted, evaluation, verdict)
    return _publish(run, manifest, files, verdict, publishing, console)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code, as its help tells."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=False)
    started = time.monotonic()
    try:
        return _run_all(arguments, console, started)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, OSError, RuntimeError) as error:  # torch's word for too little memory is RuntimeError
        print(f"error: training failed: {(str(error) or repr(error)).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: stopped by hand; nothing was published (--resume goes on from the last checkpoint)", file=sys.stderr)
        return 130


def _run_all(arguments: argparse.Namespace, console: Console, started: float) -> int:
    if arguments.resume is not None:
        refuse_beside_resume(arguments)
        run = RunFolder.open(Path(arguments.resume))
        plans = [run.plan if arguments.models is None else run.plan.model_copy(update={"models": arguments.models})]
    else:
        run, plans = None, plans_of(arguments)
    if arguments.dry_run:
        for plan in plans:
            _show_data(plan, console)
        return 0
    require_tracker(arguments.track)
    require_writable(Path(plans[0].models))
    published = [_run(plan, run, arguments, console) for plan in plans]
    PartialState().destroy_process_group()  # not before: the next model needs it too
    console.print(f"done in {time.monotonic() - started:.0f} s")
    return 0 if all(published) else WORSE


def _run(plan: Plan, resumed: RunFolder | None, arguments: argparse.Namespace, console: Console) -> bool:
    """What train() gives, in a folder of its own or in the one that is resumed."""
    # Where a resumed run is, there are also the figures that a tracker has of it.
    runs = resumed.path.parent if resumed else Path(arguments.runs or Path(plan.models).parent / "runs")
    # Without a GPU accelerate has to be told, or each process of torchrun takes itself for all of them.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=arguments.track, project_dir=str(runs))
    console.quiet = not accelerator.is_main_process
    folder = RunFolder(resumed.path, plan, resumed=True) if resumed else _create_together(accelerator, runs, plan)
    console.print(f"run folder: {escape(str(folder.path))}", soft_wrap=True)
    if arguments.track:
        accelerator.init_trackers(folder.path.name)
    try:
        return train(folder, accelerator, console, arguments.publish)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        if accelerator.is_main_process:  # the others are done before it, and it still reads
            folder.forget_data()


def _create_together(accelerator: Accelerator, runs: Path, plan: Plan) -> RunFolder:
    """One folder for all processes of a run."""
    made = [str(RunFolder.create(runs, plan).path) if accelerator.is_main_process else None]
    broadcast_object_list(made)
    return RunFolder(Path(str(made[0])), plan)


def _show_data(plan: Plan, console: Console) -> None:
    _introduce(plan, console)
    with tempfile.TemporaryDirectory(prefix="seqserve-data-") as folder:
        console.print(report.data_table(load_corpus(plan.config, Path(folder)), plan.config.text.unit))


def _introduce(plan: Plan, console: Console) -> None:
    console.rule(f"{plan.config.name} ({plan.config.task})")
    if missing := left_out(plan.preset, plan.config):
        console.print(missing, soft_wrap=True)


def _open(manifest: Manifest, corpus: Corpus, exported: Exported) -> Candidate:
    try:
        candidate = Artifact(Path(manifest.name), manifest, corpus.tokenizer, exported.graph)
        return Candidate(candidate, Runtime(candidate))
    except ArtifactError as error:
        raise PublishError(f"the exported graph is refused: {error}") from error


def _keep_figures(run: RunFolder, accelerator: Accelerator, evaluation: Evaluation, verdict: Verdict) -> None:
    """What a run came to, for whoever compares many of them."""
    figures = report.figures(evaluation.scores)
    if evaluation.answers is not None:
        figures["temperature"] = evaluation.temperature
    run.record("test", {"split": evaluation.split, **figures, "verdict": verdict.sentence})
    accelerator.log({f"test/{_NO_TRACKER_TAKES.sub('_', name)}": value for name, value in figures.items()})


def _names(config: Config, corpus: Corpus) -> dict[str, str]:
    """What the labels of the data are called; a preset's names are for its own labels alone."""
    names = config.data.labels
    return names if set(names.values()) == set(corpus.labels) else {}


def _files(
    config: Config,
    corpus: Corpus,
    exported: Exported,
    manifest: Manifest,
    fitted: Fitted,
    evaluation: Evaluation,
    verdict: Verdict,
) -> dict[str, bytes]:
    """Everything in the folder but the manifest."""
    pretraining = _without_labels(config, corpus)
    return {
        artifact.GRAPH: exported.graph,
        artifact.TOKENIZER: corpus.tokenizer.to_json().encode(),
        artifact.CURVES: plots.curves(fitted.history, fitted.best, config.name),
        **plots.of_evaluation(evaluation),
        artifact.CARD: card.model_card(manifest, evaluation, verdict.sentence, pretraining, fitted.fault).encode(),
    }


def _without_labels(config: Config, corpus: Corpus) -> str | None:
    """What the card says of the text that a classifier learnt from before, and beside, the labels."""
    texts = 0 if corpus.unlabelled is None else len(corpus.unlabelled)
    parts = []
    if config.pretrain.epochs:
        parts.append(f"{config.pretrain.epochs} epochs as a language model of both directions")
    if config.selftrain.epochs:
        parts.append(f"{config.selftrain.epochs} epochs on what {config.selftrain.teachers} teachers and a linear model said")
    read = f"{texts:,} texts without labels and the training texts" if texts else "the training texts"
    return f"{read}: {'; '.join(parts)}" if parts else None


def _publish(
    run: RunFolder, manifest: Manifest, files: dict[str, bytes], verdict: Verdict, publishing: str, console: Console
) -> bool:
    """As the next version in models, or, where it must not be, into the run's own folder."""
    if run.resumed and verdict.same and publishing == "better":
        console.print("[bold]nothing new to publish[/bold]")
        return True
    kept_back = publishing == "never" or (publishing == "better" and verdict.refused)
    models = run.path / "model" if kept_back else Path(run.plan.models)
    path = (_kept_before(models, manifest.name, files) if kept_back else None) or publish(models, manifest, files)
    size = sum(file.stat().st_size for file in path.iterdir())
    where = f"{escape(str(path))} ({size / 1e6:.1f} MB)"
    if not kept_back:
        console.print(f"[bold]published {where}[/bold]; a service started from now on serves it", soft_wrap=True)
        return True
    console.print(f"[bold]not published[/bold]; it is kept in {where}", soft_wrap=True)
    if publishing == "never":
        return True
    again = shlex.join(["python", "-m", "training.run", "--resume", str(run.path), "--publish", "always"])
    console.print(f"to publish it all the same: {escape(again)}", soft_wrap=True, highlight=False)
    return False


def _kept_before(models: Path, name: str, files: dict[str, bytes]) -> Path | None:
    """The version in models that is this very model, graph and words."""
    wanted = {part: artifact.sha256(files[part]) for part in (artifact.GRAPH, artifact.TOKENIZER)}
    for version in dict(artifact.versions(models)).get(name, []) if models.is_dir() else []:
        with suppress(ArtifactError):
            if wanted.items() <= artifact.load(version).manifest.files.items():
                return version
    return None


if __name__ == "__main__":
    sys.exit(main())
