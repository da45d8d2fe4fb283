"""What manifest.json says of a trained model. The contract itself is service.artifact's."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from service import artifact
from service.artifact import Golden, Limits, Manifest, Score, Sizes, SpecialIds, Training
from training.config import Config
from training.data import Corpus
from training.export import Exported
from training.loop import Fitted, Model
from training.model import count_parameters
from training.parity import golden_examples

PACKAGES = ("torch", "onnx", "onnxruntime", "tokenizers", "datasets", "accelerate", "numpy")
GOLDEN_EXAMPLES = 8
GOLDEN_CHARACTERS = 60
MAX_INPUT_WORDS = 1024  # far beyond what training looks at; a bound for the service, not for the model


def describe(
    config: Config,
    corpus: Corpus,
    model: Model,
    exported: Exported,
    fitted: Fitted,
    scores: list[Score],
    preset: str,
    command: str,
) -> Manifest:
    """The manifest, but for the version and the hashes, which publishing fills in."""
    tokenizer = corpus.tokenizer
    return Manifest(
        schema_version=artifact.SCHEMA_VERSION,
        name=config.name,
        version=1,
        task=config.task,
        description=config.description,
        cell=config.model.cell,
        layers=config.model.layers,
        directions=model.recurrent.directions,
        pooling=config.model.pooling if config.task == "classify" else None,
        sizes=Sizes(
            vocabulary=tokenizer.vocabulary_size,
            embedding=config.model.embedding,
            hidden=config.model.hidden,
            parameters=count_parameters(model),
        ),
        precision="float32",
        opset=artifact.MAX_OPSET,
        ir_version=artifact.MAX_IR_VERSION,
        special_ids=SpecialIds(padding=tokenizer.padding_id, unknown=tokenizer.unknown_id, end=tokenizer.end_id),
        labels=corpus.labels,
        inputs=exported.inputs,
        outputs=exported.outputs,
        state=exported.state,
        limits=Limits(max_input_words=MAX_INPUT_WORDS),
        golden=_golden(config, corpus, model),
        scores=scores,
        training=_training(config, corpus, fitted, preset, command),
        files={},
    )


def _golden(config: Config, corpus: Corpus, model: Model) -> list[Golden]:
    """Short texts, from the test split where there is one."""
    encode = corpus.tokenizer.encode_prompt if config.task == "generate" else corpus.tokenizer.encode
    rows = corpus.splits.test if corpus.test else corpus.splits.train
    texts = [row.text for row in rows if encode(row.text).ids]
    short = [text for text in texts if len(text) <= GOLDEN_CHARACTERS] or texts
    return golden_examples(model, [(text, encode(text).ids) for text in short[:GOLDEN_EXAMPLES]])


def _training(config: Config, corpus: Corpus, fitted: Fitted, preset: str, command: str) -> Training:
    splits, train = corpus.splits, Path(config.data.train or "")
    data_name = train.parent.name if train.stem == "train" else train.name
    return Training(
        preset=preset,
        command=command,
        seed=config.seed,
        source=config.source,
        data=f"{data_name}: {len(splits.train):,} rows to train, {len(splits.valid):,} to choose on, {len(splits.test):,} to test",
        data_fingerprint=corpus.splits.fingerprint,
        epochs=len(fitted.history),
        seconds=round(fitted.seconds, 1),
        packages={name: version(name) for name in PACKAGES},
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
