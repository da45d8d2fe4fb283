"""What manifest.json says of a trained model. The contract itself is service.artifact's."""

from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from service import artifact
from service.artifact import Golden, Limits, Manifest, Score, Sizes, SpecialIds, Training
from service.words import Reader, Words
from training.config import HUB, Config
from training.corpus import Corpus
from training.export import Exported
from training.hub import folder_of
from training.model import Model, count_parameters
from training.parity import golden_examples
from training.progress import Fitted

PACKAGES = ("torch", "onnx", "onnxruntime", "tokenizers", "datasets", "accelerate", "numpy")
GOLDEN_EXAMPLES = 8
GOLDEN_CHARACTERS = 60
GOLDEN_ROWS = 1000  # looked at for them


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
        unit=config.text.unit,
        ngrams=corpus.ngrams,
        sizes=Sizes(
            vocabulary=tokenizer.vocabulary_size,
            embedding=config.model.embedding,
            hidden=config.model.hidden,
            parameters=count_parameters(model),
        ),
        tables=config.model.tables,
        opset=artifact.MAX_OPSET,
        ir_version=artifact.MAX_IR_VERSION,
        special_ids=SpecialIds(padding=tokenizer.padding_id, unknown=tokenizer.unknown_id, end=tokenizer.end_id),
        labels=corpus.labels,
        inputs=exported.inputs,
        outputs=exported.outputs,
        state=exported.state,
        limits=Limits(max_input_words=artifact.MAX_INPUT_WORDS),
        golden=_golden(config, corpus, model),
        scores=scores,
        training=_training(config, corpus, fitted, preset, command),
        files={},
    )


def _golden(config: Config, corpus: Corpus, model: Model) -> list[Golden]:
    """Short texts, from the test split where there is one; half of them with unknown words where a model reads these."""
    tokenizer = corpus.tokenizer
    rows = islice(corpus.rows("test" if len(corpus.test) else "train"), GOLDEN_ROWS)
    texts = [row.text for row in rows]
    short = [text for text in texts if len(text) <= GOLDEN_CHARACTERS] or sorted(texts, key=len)[:GOLDEN_EXAMPLES]
    if config.task == "generate":
        return golden_examples(model, [(text, Words(tokenizer.encode_prompt(text).ids)) for text in short[:GOLDEN_EXAMPLES]])
    reader = Reader(tokenizer, corpus.ngrams)
    read = [(text, reader.read(text)) for text in short]
    spelt = [place for place, (_, words) in enumerate(read) if words.grams][: GOLDEN_EXAMPLES // 2]
    others = [place for place in range(len(read)) if place not in spelt][: GOLDEN_EXAMPLES - len(spelt)]
    return golden_examples(model, [read[place] for place in sorted([*spelt, *others])])


def _training(config: Config, corpus: Corpus, fitted: Fitted, preset: str, command: str) -> Training:
    rows = {split: f"{found.rows:,}" for split, found in corpus.statistics.items()}
    data = f"{_data_name(config)}: {rows['train']} rows to train, {rows['valid']} to choose on, {rows['test']} to test"
    return Training(
        preset=preset,
        command=command,
        seed=config.seed,
        source=config.source,
        data=f"{data}, {rows['unlabelled']} without labels" if "unlabelled" in rows else data,
        data_fingerprint=corpus.fingerprint,
        epochs=len(fitted.history),
        seconds=round(fitted.seconds, 1),
        packages={name: version(name) for name in PACKAGES},
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _data_name(config: Config) -> str:
    """What the data is called, without the folders that lead there: these say something about a person."""
    given = config.data.train or ""
    if given.startswith(HUB):
        name = Path(given.removeprefix(HUB))
        return f"{HUB}{name.name}" if name.is_absolute() or folder_of(given) else given
    train = Path(given)
    return train.parent.name if train.stem == "train" else train.name
