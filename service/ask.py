"""`python -m service ask`: a text continued and labelled without a server, for a first look."""

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, NamedTuple

from service.errors import InvalidRequest, NotFound, RequestError
from service.http.exchange import check_inputs, check_words
from service.http.names import told_by
from service.http.requests import Inputs
from service.inference.classifier import Classifier, rank
from service.inference.generator import Generator
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.metrics import Metrics
from service.model import Model
from service.registry import Registry
from service.settings import Settings

BYTES_A_CHARACTER = 4  # of UTF-8, at the most
NAMES = {"inputs": "the text"}  # what the service calls by another name, where a sentence begins with it


class Answer(NamedTuple):
    """A line for a person; where it is not good, why the model has no other."""

    text: str
    is_good: bool


def read_text(stream: BinaryIO, settings: Settings) -> str:
    """All of a stream, without the end of its last line; of one that is too long, so much that it is known."""
    content = stream.read(BYTES_A_CHARACTER * (settings.max_input_characters + 10))
    # As the text of an argument would be; some editors and shells begin a file with a mark that is no letter.
    return content.decode("utf-8-sig", "surrogateescape").rstrip("\r\n")


def ask(settings: Settings, text: str, name: str | None, words: int) -> Iterator[Answer]:
    """What the named model makes of a text, or every default one that is there; words: the most that are written.

    One that does not take the text keeps no other from its answer. Raises SettingsError where the service would not start,
    RequestError for a name that is no good, or a text that is none to any model.
    """
    _check_text(text, settings)
    with closing(Registry(settings, Metrics(settings.provider))) as registry:
        for model in _models(registry, settings, name):
            yield _answer(model, text, words)


def _check_text(text: str, settings: Settings) -> None:
    if not text.strip():
        raise InvalidRequest("the text is empty")
    with told_by(NAMES):
        check_inputs(Inputs([text], is_list=False), settings)
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidRequest("the text is not UTF-8: is it, or the terminal, in another encoding, such as EUC-KR?")


def _models(registry: Registry, settings: Settings, name: str | None) -> list[Model]:
    wanted = [settings.generate_model, settings.classify_model] if name is None else [name]
    found = [registry.models[one] for one in wanted if one in registry.models]
    if not found:
        raise NotFound(f"there is no model {' or '.join(wanted)}; there are {', '.join(sorted(registry.models)) or 'none'}")
    return found


def _answer(model: Model, text: str, words: int) -> Answer:
    inputs = Inputs([text], is_list=False)
    try:
        with told_by(NAMES):
            says = _continued(model, inputs, words) if model.manifest.task == "generate" else _labelled(model, inputs)
    except RequestError as error:
        return Answer(f"{model.label}: {error}", is_good=False)
    return Answer(f"{model.label}: {says}", is_good=True)


def _continued(model: Model, inputs: Inputs, words: int) -> str:
    assert isinstance(model.worker, Generator)
    (text,) = inputs.texts
    encoded = model.tokenizer.encode_prompt(text)
    check_words(inputs, [encoded], 1 if model.tokenizer.end_id is not None else 0, model)
    (generated,) = model.worker.submit([Prompt(encoded.ids, [GenerationOptions(words)])]).future.result()
    return f"{text.rstrip()}{model.tokenizer.continuation(generated.ids)}"


def _labelled(model: Model, inputs: Inputs) -> str:
    assert isinstance(model.worker, Classifier)
    (text,) = inputs.texts
    read = model.reader.read(text)
    check_words(inputs, [read], 0, model)
    (logits,) = model.worker.submit([read]).future.result()
    return ", ".join(f"{label} {score:.1%}" for label, score in rank(logits, model.manifest.labels, "softmax", None))
