"""`python -m service ask`: a text continued and labelled without a server, for a first look."""

from collections.abc import Iterator
from contextlib import closing

from service.errors import InvalidRequest, NotFound
from service.http.exchange import check_inputs, check_words
from service.http.requests import Inputs
from service.inference.classifier import Classifier, rank
from service.inference.generator import Generator
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.metrics import Metrics
from service.model import Model
from service.registry import Registry
from service.settings import Settings


def ask(settings: Settings, text: str, name: str | None, words: int) -> Iterator[str]:
    """A line of what the named model makes of a text, or of every default one that is there; words: the most that are written.

    Raises SettingsError where the service would not start, RequestError for a text or a name that is no good.
    """
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidRequest("the text is not UTF-8: is the terminal set to another encoding, such as EUC-KR?")
    inputs = Inputs([text], is_list=False)
    check_inputs(inputs, settings)
    with closing(Registry(settings, Metrics(settings.provider))) as registry:
        for model in _models(registry, settings, name):
            says = _continued(model, inputs, words) if model.manifest.task == "generate" else _labelled(model, inputs)
            yield f"{model.label}: {says}"


def _models(registry: Registry, settings: Settings, name: str | None) -> list[Model]:
    wanted = [settings.generate_model, settings.classify_model] if name is None else [name]
    found = [registry.models[one] for one in wanted if one in registry.models]
    if not found:
        raise NotFound(f"there is no model {' or '.join(wanted)}; there are {', '.join(sorted(registry.models)) or 'none'}")
    return found


def _continued(model: Model, inputs: Inputs, words: int) -> str:
    assert isinstance(model.worker, Generator)
    encoded = model.tokenizer.encode_prompt(inputs.texts[0])
    check_words(inputs, [encoded], 1 if model.tokenizer.end_id is not None else 0, model)
    (generated,) = model.worker.submit([Prompt(encoded.ids, [GenerationOptions(words)])]).future.result()
    text = inputs.texts[0].rstrip()
    return f"{text}{model.tokenizer.continuation(generated.ids)}"


def _labelled(model: Model, inputs: Inputs) -> str:
    assert isinstance(model.worker, Classifier)
    read = model.reader.read(inputs.texts[0])
    check_words(inputs, [read], 0, model)
    (logits,) = model.worker.submit([read]).future.result()
    return ", ".join(f"{label} {score:.1%}" for label, score in rank(logits, model.manifest.labels, "softmax", None))
