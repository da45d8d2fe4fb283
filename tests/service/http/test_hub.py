"""POST /, /models/{name} and /predict: which task a request is for, and the shape of its answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.http.schemas import GenerateAnswer
from service.settings import Settings
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version
from tests.service.http.ask import PROMPT, classify, events, generate, refusal, written
from tests.service.http.forms import CLASSIFIER

TEXTS = [PROMPT, "the cat"]


def ask(client: TestClient, path: str = "/", inputs: Any = PROMPT, **fields: Any) -> Any:
    response = client.post(path, json={"inputs": inputs} | fields)
    assert response.status_code == 200, response.text
    return response.json()


def model_of(client: TestClient, **fields: Any) -> str:
    response = client.post("/", json={"inputs": PROMPT} | fields)
    assert response.status_code == 200, response.text
    return response.headers["x-model"].partition("/")[0]


@pytest.fixture(scope="module")
def labelling(service_settings: Settings) -> Iterator[TestClient]:
    """A service whose root labels what could be of either task."""
    with TestClient(create_app(service_settings.model_copy(update={"root_task": "classify"}))) as client:
        yield client


# ------------------------------------------------------------------------------------------------------------ which task

GENERATING: list[dict[str, Any]] = [
    {"stream": False},
    {"parameters": {"max_new_tokens": 3}},
    {"parameters": {"details": True, "seed": None}},
    {"parameters": {"return_full_text": False}},
    {"parameters": {"top_k": 2, "stop": []}},
    {"model": "lstm1-generate"},
    {"model": "lstm1-generate", "parameters": {"details": True}},
]
CLASSIFYING: list[dict[str, Any]] = [
    {"parameters": {"function_to_apply": "none"}},
    {"parameters": {"function_to_apply": "softmax", "top_k": 1}},
    {"model": CLASSIFIER},
    {"model": CLASSIFIER, "parameters": {"top_k": 1}},
]
EITHER: list[dict[str, Any]] = [{}, {"parameters": {}}, {"parameters": None}, {"parameters": {"details": False}}]


@pytest.mark.parametrize("fields", GENERATING)
def test_what_only_a_generation_has_asks_for_one(fields: dict[str, Any], service: TestClient, labelling: TestClient) -> None:
    for client in (service, labelling):
        assert model_of(client, **fields) == fields.get("model", ENDLESS)


@pytest.mark.parametrize("fields", CLASSIFYING)
def test_what_only_a_classification_has_asks_for_one(fields: dict[str, Any], service: TestClient, labelling: TestClient) -> None:
    for client in (service, labelling):
        assert model_of(client, **fields) == CLASSIFIER


@pytest.mark.parametrize("fields", EITHER)
def test_what_could_be_either_is_what_the_operator_says(fields: dict[str, Any], service: TestClient, labelling: TestClient) -> None:
    assert model_of(service, **fields) == ENDLESS
    assert model_of(labelling, **fields) == CLASSIFIER


@pytest.mark.parametrize("name", [ENDLESS, CLASSIFIER])
def test_where_models_of_one_task_serve_what_could_be_either_is_that(name: str, service_models: Path, tmp_path: Path) -> None:
    copy_version(service_models, name, tmp_path / "models")
    app = create_app(Settings(models=tmp_path / "models", generate_model=ENDLESS, classify_model=CLASSIFIER))
    with TestClient(app) as client:
        assert model_of(client) == name


@pytest.mark.parametrize("fields", [*EITHER, {"stream": True}])
def test_the_model_of_an_address_decides(fields: dict[str, Any], service: TestClient) -> None:
    response = service.post(f"/models/{ENDLESS}", json={"inputs": PROMPT} | fields)
    assert response.headers["x-model"] == f"{ENDLESS}/1"
    if "stream" in fields:
        sentence = refusal(service.post(f"/models/{CLASSIFIER}", json={"inputs": PROMPT} | fields), 422, "validation")
        assert sentence == "stream: there is no such field"
    else:
        assert ask(service, f"/models/{CLASSIFIER}", **fields)[0] == classify(service)


def test_an_address_and_a_body_name_the_same_model(service: TestClient) -> None:
    assert ask(service, f"/models/{CLASSIFIER}", model=CLASSIFIER) == [classify(service)]
    sentence = refusal(service.post(f"/models/{CLASSIFIER}", json={"inputs": PROMPT, "model": ENDLESS}), 422, "validation")
    assert sentence == f"model: the address asks for '{CLASSIFIER}'"


def test_fields_of_both_tasks_are_refused(service: TestClient) -> None:
    both = {"inputs": PROMPT, "parameters": {"max_new_tokens": 3, "function_to_apply": "none"}}
    sentence = refusal(service.post("/", json=both), 422, "validation")
    assert sentence == "parameters.function_to_apply: there is no such field"


# ---------------------------------------------------------------------------------------------------------------- shapes


def test_the_root_answers_with_a_list_also_of_one(service: TestClient) -> None:
    """As text-generation-inference does, and the hub for labels."""
    options: dict[str, Any] = {"max_new_tokens": 5, "details": True}
    assert ask(service, parameters=options) == [generate(service, **options)]
    assert ask(service, inputs=TEXTS, parameters=options) == generate(service, TEXTS, **options)
    assert ask(service, model=CLASSIFIER) == [classify(service)]
    assert ask(service, inputs=TEXTS, model=CLASSIFIER) == classify(service, TEXTS)
    for answer in ask(service, parameters=options):
        GenerateAnswer.model_validate(answer, strict=True)


def test_several_answers_are_a_list_within_the_list(service: TestClient) -> None:
    options: dict[str, Any] = {"n": 3, "seed": 4, "do_sample": True}
    assert ask(service, parameters=options) == [generate(service, **options)]


def test_a_stream_is_that_of_generate_stream(service: TestClient) -> None:
    body = {"inputs": PROMPT, "parameters": {"details": True, "seed": 3, "do_sample": True}}
    streamed = service.post("/", json=body | {"stream": True})
    assert streamed.content == service.post("/generate_stream", json=body).content
    assert written(events(streamed.content)) == generate(service, seed=3, do_sample=True)["generated_text"]


def test_a_state_goes_on_where_it_stopped(service: TestClient) -> None:
    (first,) = ask(service, parameters={"max_new_tokens": 5, "return_state": True})
    (second,) = ask(service, inputs="", parameters={"max_new_tokens": 5}, state=first["state"])
    assert first["generated_text"] + second["generated_text"] == generate(service, max_new_tokens=10)["generated_text"]


def test_predict_answers_as_classify_and_with_parameters_as_the_root(service: TestClient) -> None:
    """Without, as text-embeddings-inference does; clients of the hub always send some, and take the first of a list."""
    assert ask(service, "/predict") == classify(service)
    assert ask(service, "/predict", TEXTS) == classify(service, TEXTS)
    assert ask(service, "/predict", parameters={}) == [classify(service)]
    assert ask(service, "/predict", TEXTS, parameters={}) == classify(service, TEXTS)
    assert ask(service, "/predict", parameters={"top_k": 1}) == [classify(service, top_k=1)]


def test_raw_scores_are_logits(service: TestClient) -> None:
    assert ask(service, "/predict", raw_scores=True, truncate=False) == classify(service, function_to_apply="none")
    assert ask(service, "/predict", raw_scores=False) == classify(service)
    for fields, sentence in (
        ({"raw_scores": True, "parameters": {}}, "raw_scores: goes without parameters, whose function_to_apply says the same"),
        ({"truncate": True}, "truncate: must be false"),
        ({"truncate": 0}, "truncate: must be false"),
        ({"stream": False}, "stream: there is no such field"),
    ):
        response = service.post("/predict", json={"inputs": PROMPT} | fields)
        assert refusal(response, 422, "validation") == sentence


def test_a_list_is_a_batch_and_never_a_pair(service: TestClient) -> None:
    for path in ("/predict", f"/models/{CLASSIFIER}"):
        assert ask(service, path, TEXTS) == [classify(service, text) for text in TEXTS]


def test_texts_in_lists_of_their_own_are_a_batch(service: TestClient) -> None:
    """As clients of text-embeddings-inference send one, to which two texts in a list are a pair."""
    assert ask(service, "/predict", [[text] for text in TEXTS]) == classify(service, TEXTS)
    assert ask(service, "/predict", [[PROMPT]]) == classify(service, [PROMPT])
    assert ask(service, "/predict", [PROMPT, ["the cat"]], raw_scores=True) == classify(service, TEXTS, function_to_apply="none")


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([TEXTS], "inputs[0]: must be a text, or a list of one; pairs are not labelled"),
        ([[PROMPT], TEXTS], "inputs[1]: must be a text, or a list of one; pairs are not labelled"),
        ([[]], "inputs[0]: must be a text, or a list of one; pairs are not labelled"),
        ([[PROMPT], [5]], "inputs[1]: must be a text"),
        ([[[PROMPT]]], "inputs[0]: must be a text"),
        ([[PROMPT], [" "]], "inputs[1]: is empty"),
    ],
)
def test_a_pair_is_refused_by_its_place(inputs: Any, sentence: str, service: TestClient) -> None:
    assert refusal(service.post("/predict", json={"inputs": inputs}), 422, "validation") == sentence


def test_options_of_others_that_are_off_say_nothing(service: TestClient) -> None:
    """As clients of text-generation-inference send all that they know."""
    off: dict[str, Any] = {
        "watermark": False,
        "grammar": None,
        "adapter_id": None,
        "seed": None,
        "top_k": None,
        "stop": [],
        "do_sample": False,
    }
    assert ask(service, parameters=off) == [generate(service)]
    for name, value in (("watermark", True), ("grammar", {"type": "json"}), ("adapter_id", "x")):
        response = service.post("/", json={"inputs": PROMPT, "parameters": {"max_new_tokens": 3, name: value}})
        assert refusal(response, 422, "validation") == f"parameters.{name}: there is no such field"


def test_how_to_draw_and_a_seed_change_nothing_where_nothing_is_drawn(service: TestClient) -> None:
    """As clients send them who always do, LangChain's among them; what they send must be good all the same."""
    drawing = {"do_sample": False, "temperature": 0.8, "top_k": 5, "top_p": 0.95, "typical_p": 0.95}
    assert ask(service, parameters={**drawing, "seed": 3}) == ask(service, parameters={"seed": 3}) == [generate(service)]
    assert ask(service, parameters={"do_sample": True, "seed": 3}) == [generate(service, do_sample=True, seed=3)]
    for parameters, sentence in (({**drawing, "top_p": 2}, "parameters.top_p: "), ({"seed": -1}, "parameters.seed: ")):
        response = service.post("/", json={"inputs": PROMPT, "parameters": parameters})
        assert refusal(response, 422, "validation").startswith(sentence)
    assert service.post("/generate", json={"inputs": PROMPT, "parameters": drawing}).status_code == 422


def test_details_of_labels_are_those_of_classify(service: TestClient) -> None:
    assert ask(service, f"/models/{CLASSIFIER}", parameters={"details": True}) == [classify(service, details=True)]
    assert ask(service, "/predict", parameters={"details": True}) == [classify(service, details=True)]


@pytest.mark.parametrize("inputs", [None, 5, [], {}, [5], [PROMPT, None]])
def test_inputs_that_are_none_are_refused(inputs: Any, service: TestClient) -> None:
    for path in ("/", "/predict", f"/models/{ENDLESS}", f"/models/{CLASSIFIER}"):
        assert refusal(service.post(path, json={"inputs": inputs}), 422, "validation").startswith("inputs")
