"""/v2: tensors as JSON and as bytes, versions, metadata and health of the Open Inference Protocol."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.app import create_app
from service.http.protocol_schemas import InferAnswer, MetadataAnswer, ServerAnswer, TextAnswer, TextEvent
from service.settings import Settings
from service.version import VERSION
from tests.conftest import CLASSIFIERS, GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version
from tests.service.http.ask import PROMPT, classify, generate, refusal, registry_of, standing_still
from tests.service.http.forms import CLASSIFIER, INFER, binary, data, unpacked

TEXTS = [PROMPT, "the cat 고래", "집"]
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def given_texts(texts: list[str], shape: list[int] | None = None) -> list[dict[str, Any]]:
    return [{"name": "text_input", "datatype": "BYTES", "shape": shape or [len(texts)], "data": texts}]


def infer(client: TestClient, model: str = CLASSIFIER, texts: list[str] = TEXTS, **fields: Any) -> Response:
    response: Response = client.post(f"/v2/models/{model}/infer", json={"inputs": given_texts(texts)} | fields)
    return response


def outputs(response: Response) -> dict[str, Any]:
    """The tensors of a good answer by their names, after a look at its form."""
    assert response.status_code == 200, response.text
    size = int(response.headers.get(INFER, len(response.content)))
    head, rest = json.loads(response.content[:size]), response.content[size:]
    InferAnswer.model_validate(head, strict=True)
    found = {}
    for output in head["outputs"]:
        values = output.get("data")
        if values is None:
            raw, rest = rest[: output["parameters"]["binary_data_size"]], rest[output["parameters"]["binary_data_size"] :]
            values = _floats(raw) if output["datatype"] == "FP32" else unpacked(raw)
        found[output["name"]] = {"datatype": output["datatype"], "shape": output["shape"], "values": values}
    assert rest == b""
    return found


def _floats(raw: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


# --------------------------------------------------------------------------------------------------------------- tensors


@pytest.mark.parametrize("model", [small.name for small in CLASSIFIERS])
def test_labels_come_with_their_scores_text_by_text_the_best_first(model: str, service: TestClient) -> None:
    expected = [one for text in classify(service, TEXTS, model) for one in text]
    found = outputs(infer(service, model))
    assert found["labels"] == {"datatype": "BYTES", "shape": [3, 2], "values": [one["label"] for one in expected]}
    assert found["scores"] == {"datatype": "FP32", "shape": [3, 2], "values": [one["score"] for one in expected]}
    best = outputs(infer(service, model, parameters={"top_k": 1, "function_to_apply": "none"}))
    assert best["labels"]["shape"] == [3, 1]
    assert best["scores"]["values"] == [one[0]["score"] for one in classify(service, TEXTS, model, function_to_apply="none")]


@pytest.mark.parametrize("model", [*(small.name for small in GENERATORS), ENDLESS])
def test_a_text_is_written_for_every_text(model: str, service: TestClient) -> None:
    for options in ({}, {"seed": 4, "temperature": 1.4}, {"return_full_text": True}, {"stop": ["the"]}):
        expected = [one["generated_text"] for one in generate(service, TEXTS, model, **options)]
        found = outputs(infer(service, model, parameters=options))
        assert found == {"text_output": {"datatype": "BYTES", "shape": [3], "values": expected}}


def test_several_answers_to_a_text_are_a_row(service: TestClient) -> None:
    options: dict[str, Any] = {"n": 2, "best_of": 3, "seed": 4, "temperature": 1.4}
    expected = [one["generated_text"] for text in generate(service, TEXTS, **options) for one in text]
    found = outputs(infer(service, ENDLESS, parameters=options))
    assert found == {"text_output": {"datatype": "BYTES", "shape": [3, 2], "values": expected}}


@pytest.mark.parametrize("model", [CLASSIFIER, ENDLESS])
@EXAMPLES
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1), min_size=1, max_size=5))
def test_texts_and_answers_as_bytes_are_those_as_json(model: str, texts: list[str], service: TestClient) -> None:
    as_json = outputs(infer(service, model, texts))
    content, headers = binary([text.encode() for text in texts], parameters={"binary_data_output": True})
    response = service.post(f"/v2/models/{model}/infer", content=content, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    as_bytes = outputs(response)
    if model == CLASSIFIER:
        scores = as_json["scores"]
        scores["values"] = list(
            struct.unpack(f"<{len(scores['values'])}f", struct.pack(f"<{len(scores['values'])}f", *scores["values"]))
        )
    assert as_bytes == as_json


def test_the_outputs_that_are_asked_for_come_in_that_order_each_as_it_says(service: TestClient) -> None:
    expected = outputs(infer(service))
    wanted = [{"name": "scores", "parameters": {"binary_data": False}}, {"name": "labels"}]
    response = infer(service, outputs=wanted, parameters={"binary_data_output": True})
    head = json.loads(response.content[: int(response.headers[INFER])])
    assert [(output["name"], "data" in output) for output in head["outputs"]] == [("scores", True), ("labels", False)]
    assert outputs(response)["labels"] == expected["labels"]
    alone = infer(service, outputs=[{"name": "labels"}])
    assert alone.headers["content-type"] == "application/json"
    assert INFER not in alone.headers
    assert outputs(alone) == {"labels": expected["labels"]}


def test_a_batch_of_rows_is_a_batch(service: TestClient) -> None:
    """As servers that stack requests want it."""
    expected = outputs(infer(service))
    for rows in (given_texts(TEXTS, [3, 1]), [given_texts(TEXTS, [3, 1])[0] | {"data": [[text] for text in TEXTS]}]):
        assert outputs(service.post(f"/v2/models/{CLASSIFIER}/infer", json={"inputs": rows})) == expected


def test_who_answered_is_told_and_an_id_comes_back(service: TestClient) -> None:
    answer = infer(service, id="mine", model_name=CLASSIFIER).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", CLASSIFIER, "1")
    assert "id" not in infer(service).json()


def test_a_time_limit_in_the_body_is_a_deadline(service_settings: Settings) -> None:
    app = create_app(service_settings.model_copy(update={"max_new_tokens": 10**8, "max_answer_tokens": 10**8}))
    with TestClient(app) as client, standing_still(app):
        refusal(infer(client, ENDLESS, parameters={"timeout": 100_000}), 504, "deadline")


INPUT = given_texts(TEXTS)[0]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no input": ({"inputs": []}, "inputs: "),
    "two inputs": ({"inputs": [INPUT, INPUT]}, "inputs: "),
    "another input": ({"inputs": [INPUT | {"name": "text"}]}, "inputs.0.name: Input should be 'text_input'"),
    "numbers": ({"inputs": [INPUT | {"datatype": "FP32"}]}, "inputs.0.datatype: Input should be 'BYTES'"),
    "a wrong shape": ({"inputs": [INPUT | {"shape": [2]}]}, "text_input: the shape [2] has 2 texts, and there are 3"),
    "a negative shape": ({"inputs": [INPUT | {"shape": [-1]}]}, "inputs.0.shape.0: "),
    "a cube": ({"inputs": [INPUT | {"shape": [3, 1, 1]}]}, "inputs.0.shape: "),
    "nothing": ({"inputs": [INPUT | {"shape": [0], "data": []}]}, "text_input: has no text"),
    "no data": ({"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1]}]}, "text_input[0]: must be a text"),
    "a number": ({"inputs": [INPUT | {"data": ["a", 5, "b"]}]}, "text_input[1]: must be a text"),
    "bytes that do not come": (
        {"inputs": [INPUT | {"data": None, "parameters": {"binary_data_size": 9}}]},
        "text_input: says that 9 bytes follow the JSON, and 0 do",
    ),
    "data twice": (
        {"inputs": [INPUT | {"parameters": {"binary_data_size": 0}}]},
        "text_input: has data, and says that it follows the JSON",
    ),
    "memory of another process": (
        {"inputs": [INPUT | {"parameters": {"shared_memory_region": "a"}}]},
        "inputs.0.parameters.shared_memory_region: there is no such field",
    ),
    "another output": ({"outputs": [{"name": "x"}]}, "outputs: there is no 'x'; there are labels, scores"),
    "classes": (
        {"outputs": [{"name": "scores", "parameters": {"classification": 2}}]},
        "outputs.0.parameters.classification: there is no such field",
    ),
    "a sequence": ({"parameters": {"sequence_id": 5}}, "parameters.sequence_id: there is no such field"),
    "a priority": ({"parameters": {"priority": 5}}, "parameters.priority: there is no such field"),
    "no time": ({"parameters": {"timeout": 0}}, "parameters.timeout: "),
    "attributions": ({"parameters": {"details": True}}, "parameters.details: has no place in this answer; "),
    "another model": ({"model_name": "x"}, f"model_name: the address asks for '{CLASSIFIER}'"),
    "a field": ({"wings": 2}, "wings: there is no such field"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_told_by_its_name(case: str, service: TestClient) -> None:
    fields, sentence = REFUSED[case]
    assert refusal(infer(service, **fields), 422, "validation").startswith(sentence)


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        ("", "must be a number of bytes"),
        ("-1", "must be a number of bytes"),
        ("1e3", "must be a number of bytes"),
        ("9" * 5000, "must be a number of bytes, and no more than the "),
        ("5000", "must be a number of bytes, and no more than the "),
        ("0", "the body is not JSON"),
        ("10", "the body is not JSON"),
    ],
)
def test_a_length_of_json_that_is_none_is_refused(length: str, sentence: str, service: TestClient) -> None:
    content, _ = binary([b"a"])
    response = service.post(f"/v2/models/{CLASSIFIER}/infer", content=content, headers={INFER: length})
    assert sentence in refusal(response, 422, "validation")


def test_bytes_beside_the_tensor_are_refused(service: TestClient) -> None:
    content, headers = binary([b"a"])
    path = f"/v2/models/{CLASSIFIER}/infer"
    for body, sentence in (
        (content + b"x", "text_input: says that 5 bytes follow the JSON, and 6 do"),
        (content[:-1], "text_input: says that 5 bytes follow the JSON, and 4 do"),
        (content.replace(b"\1\0\0\0a", b"\2\0\0\0a"), "text_input[0]: ends before its length says"),
        (content.replace(b"\1\0\0\0a", b"\1\0\0\0\xff"), "text_input[0]: is not UTF-8"),
    ):
        assert refusal(service.post(path, content=body, headers=headers), 422, "validation") == sentence
    assert outputs(service.post(path, content=content, headers=headers))


@pytest.mark.parametrize("name", ["details", "decoder_input_details", "top_n_tokens", "return_state"])
def test_what_has_no_tensor_is_refused_and_what_is_off_is_not(name: str, service: TestClient) -> None:
    sentence = refusal(infer(service, ENDLESS, parameters={name: True}), 422, "validation")
    assert sentence == f"parameters.{name}: has no place in this answer; /generate and /classify have it"
    assert outputs(infer(service, ENDLESS, parameters={name: None if name == "top_n_tokens" else False}))


# ------------------------------------------------------------------------------------------------------------------ texts


def text(client: TestClient, address: str = "generate", **fields: Any) -> Response:
    response: Response = client.post(f"/v2/models/{ENDLESS}/{address}", json={"text_input": PROMPT} | fields)
    return response


def test_a_text_is_told_with_its_details_where_they_are_asked_for(service: TestClient) -> None:
    plain, full = text(service).json(), text(service, id="mine", parameters={"details": True, "top_n_tokens": 2}).json()
    for answer in (plain, full):
        TextAnswer.model_validate(answer, strict=True)
        assert (answer["model_name"], answer["model_version"]) == (ENDLESS, "1")
    assert set(plain) == {"model_name", "model_version", "text_output"}
    assert full["id"] == "mine"
    assert full["details"] == generate(service, details=True, top_n_tokens=2)["details"]


def test_a_stream_has_an_event_a_word_and_the_last_one_says_so(service: TestClient) -> None:
    events = data(text(service, "generate_stream", id="mine", parameters={"details": True}).content)
    for event in events:
        TextEvent.model_validate(event, strict=True)
        assert event["id"] == "mine"
    assert [event["done"] for event in events] == [False] * 19 + [True]
    assert [("details" in event) for event in events] == [False] * 19 + [True]
    assert events[-1]["details"]["finish_reason"] == "length"


def test_names_of_the_protocol_are_those_of_generate(service: TestClient) -> None:
    greedy = generate(service, max_new_tokens=5)["generated_text"]
    assert text(service, parameters={"max_tokens": 5, "temperature": 0, "stream": False}).json()["text_output"] == greedy
    streamed = text(service, "generate_stream", parameters={"max_tokens": 5, "temperature": 0.0, "stream": True})
    assert "".join(event["text_output"] for event in data(streamed.content)) == greedy
    stop = greedy.split()[1]
    assert (
        text(service, parameters={"max_tokens": 5, "stop": stop}).json()["text_output"] == greedy[: greedy.index(stop) + len(stop)]
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"parameters": {"max_tokens": 5, "max_new_tokens": 5}}, "parameters.max_tokens: is max_new_tokens, which is there too"),
        ({"parameters": {"stream": True}}, "parameters.stream: /generate_stream streams, and /generate does not"),
        ({"parameters": {"stream": 1}}, "parameters.stream: /generate_stream streams, and /generate does not"),
        ({"parameters": {"n": 2, "do_sample": True}}, "parameters.n: has no place in this answer; "),
        ({"parameters": {"return_state": True}}, "parameters.return_state: has no place in this answer; "),
        (
            {"parameters": {"temperature": 0, "do_sample": True}},
            "parameters.temperature: 0 draws nothing, and do_sample asks for drawing",
        ),
        ({"parameters": {"temperature": False}}, "parameters.temperature: Input should be a valid number"),
        ({"parameters": {"temperature": 1, "do_sample": True, "seed": -1}}, "parameters.seed: "),
        ({"parameters": {"temperature": 0, "top_p": 2}}, "parameters.top_p: "),
        ({"text_input": ["a"]}, "text_input: Input should be a valid string"),
        ({"text_input": ""}, "text_input: is empty"),
        ({"max_tokens": 5}, "max_tokens: there is no such field"),
    ],
)
def test_a_text_that_cannot_be_written_is_refused(fields: dict[str, Any], sentence: str, service: TestClient) -> None:
    assert refusal(text(service, **fields), 422, "validation").startswith(sentence)


def test_a_classifier_writes_nothing(service: TestClient) -> None:
    for address in ("generate", "generate_stream"):
        response = service.post(f"/v2/models/{CLASSIFIER}/{address}", json={"text_input": PROMPT})
        assert refusal(response, 422, "validation") == f"model: {CLASSIFIER} is for /classify, not for /generate"


# --------------------------------------------------------------------------------------------------------------- versions


@pytest.fixture
def second(service_models: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A service in which version 2 of both models serves."""
    for name in (ENDLESS, CLASSIFIER):
        copy_version(service_models, name, tmp_path / "models", 2)
    app = create_app(Settings(models=tmp_path / "models", generate_model=ENDLESS, classify_model=CLASSIFIER))
    with TestClient(app) as client:
        yield client


def requests(name: str) -> list[tuple[str, str, Any]]:
    """Everything that can be asked of a model."""
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/ready", None),
        ("POST", "/infer", {"inputs": given_texts(["a"])}),
    ]
    if name == ENDLESS:
        asked += [("POST", "/generate", {"text_input": "a"}), ("POST", "/generate_stream", {"text_input": "a"})]
    return asked


@pytest.mark.parametrize("name", [ENDLESS, CLASSIFIER])
def test_the_version_that_serves_may_be_named_and_no_other(name: str, second: TestClient) -> None:
    for method, address, body in requests(name):
        assert second.request(method, f"/v2/models/{name}{address}", json=body).status_code == 200
        assert second.request(method, f"/v2/models/{name}/versions/2{address}", json=body).status_code == 200
        for version in ("1", "02", "3", "newest"):
            response = second.request(method, f"/v2/models/{name}/versions/{version}{address}", json=body)
            assert refusal(response, 404, "not_found") == f"{name}: version '{version}' does not serve; version 2 does"
        response = second.request(method, f"/v2/models/nothing{address}", json=body)
        assert refusal(response, 404, "not_found").startswith(("there is no model 'nothing'", "model: there is no 'nothing'"))


def test_a_version_that_is_replaced_while_it_is_asked_is_told(second: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the address and the moment at which the model accepts."""
    monkeypatch.setattr("service.http.inference_protocol.serving", lambda registry, name, _: registry.models[name])
    for name in (ENDLESS, CLASSIFIER):
        response = second.post(f"/v2/models/{name}/versions/1/infer", json={"inputs": given_texts(["a"])})
        assert refusal(response, 404, "not_found") == f"{name}: version '1' does not serve; version 2 does"


# ----------------------------------------------------------------------------------------------------- metadata and health


def test_the_service_tells_what_it_knows_of_the_protocol(service: TestClient) -> None:
    told = ServerAnswer.model_validate(service.get("/v2").json(), strict=True)
    assert (told.name, told.version) == ("seqserve", VERSION)
    assert told.extensions == ["binary_tensor_data", "generate", "parameters"]


def test_a_model_tells_its_tensors_as_they_are(service: TestClient) -> None:
    for name in (ENDLESS, CLASSIFIER):
        told = MetadataAnswer.model_validate(service.get(f"/v2/models/{name}").json(), strict=True)
        assert (told.name, told.versions, told.platform) == (name, ["1"], "onnxruntime_onnx")
        assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in told.inputs] == [("text_input", "BYTES", [-1])]
        found = outputs(infer(service, name))
        assert [(tensor.name, tensor.datatype, len(tensor.shape)) for tensor in told.outputs] == [
            (name, tensor["datatype"], len(tensor["shape"])) for name, tensor in found.items()
        ]


def test_health_is_that_of_livez_and_readyz(service_settings: Settings) -> None:
    keys = {"api_keys": "a-key-of-some-length"}
    app = create_app(Settings.model_validate(service_settings.model_dump(exclude_unset=True) | keys))
    with TestClient(app) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        refusal(client.get("/v2"), 401, "unauthorized")
        app.drain.begin()
        assert client.get("/v2/health/live").json() == {"live": True}
        refusal(client.get("/v2/health/ready"), 503, "unavailable")


def test_a_model_whose_loop_has_stopped_is_not_ready(client: TestClient) -> None:
    name = CLASSIFIER
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    registry_of(client.app).models[name].worker.close(5)
    assert "has stopped" in refusal(client.get(f"/v2/models/{name}/ready"), 503, "unavailable")
    refusal(client.get("/v2/health/ready"), 503, "unavailable")


@pytest.mark.parametrize(
    ("change", "headers", "sentence"),
    [
        ({"parameters": {"timeout": 10**400}}, {}, "parameters.timeout: "),
        ({}, {"inference-header-content-length": "0" * 5000}, "inference-header-content-length: must be a number of bytes"),
        (
            {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [10**3000, 10**3000], "data": ["a"]}]},
            {},
            "inputs.0.shape.0: ",
        ),
    ],
)
def test_a_number_without_measure_is_refused_by_its_name(
    change: dict[str, Any], headers: dict[str, str], sentence: str, service: TestClient
) -> None:
    body = {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["오늘"]}], **change}
    answer = service.post("/v2/models/lstm1-generate/infer", content=json.dumps(body), headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].startswith(sentence)
