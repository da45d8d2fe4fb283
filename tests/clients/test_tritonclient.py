"""tritonclient[http], as it is, on /v2: tensors as bytes, which it sends unless told otherwise, and as JSON."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.clients.ask import CLASSIFIER, ENDING, ENDLESS, FOREVER, KEY, WRITING, classify, generate
from tests.service.http.ask import taken
from tests.service.process import Server, eventually

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
utils = pytest.importorskip("tritonclient.utils")

TEXTS = ["오늘 날씨가", "the cat sat 고래", "집"]


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def tensor(texts: list[str], binary: bool = True, shape: list[int] | None = None) -> Any:
    shape = shape or [len(texts)]
    given = triton.InferInput("text_input", shape, "BYTES")
    given.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape), binary_data=binary)
    return given


def texts_of(array: Any) -> Any:
    return np.vectorize(lambda one: one.decode() if isinstance(one, bytes) else one)(array).tolist()


def test_health_and_metadata_are_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(CLASSIFIER)
    assert client.is_model_ready(CLASSIFIER, "1")
    assert not client.is_model_ready(CLASSIFIER, "2")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    told = client.get_model_metadata(CLASSIFIER, "1")
    assert told["inputs"] == [{"name": "text_input", "datatype": "BYTES", "shape": [-1]}]
    assert [output["name"] for output in told["outputs"]] == ["labels", "scores"]


@pytest.mark.parametrize("asks_bytes", [True, False])
@pytest.mark.parametrize("sends_bytes", [True, False])
def test_texts_are_labelled(sends_bytes: bool, asks_bytes: bool, client: Any, server: Server) -> None:
    expected = classify(server, TEXTS)
    outputs = [triton.InferRequestedOutput(name, binary_data=asks_bytes) for name in ("labels", "scores")]
    for wanted in (None, outputs):
        answer = client.infer(CLASSIFIER, [tensor(TEXTS, sends_bytes)], outputs=wanted, request_id="mine")
        assert texts_of(answer.as_numpy("labels")) == [[one["label"] for one in text] for text in expected]
        scores = answer.as_numpy("scores")
        assert scores.dtype == np.float32
        assert scores.tolist() == np.array([[one["score"] for one in text] for text in expected], np.float32).tolist()
        assert answer.get_response()["id"] == "mine"


@pytest.mark.parametrize("asks_bytes", [True, False])
@pytest.mark.parametrize("sends_bytes", [True, False])
def test_texts_are_written(sends_bytes: bool, asks_bytes: bool, client: Any, server: Server) -> None:
    outputs = [triton.InferRequestedOutput("text_output", binary_data=asks_bytes)]
    asked: list[dict[str, Any]] = [{}, {"seed": 4, "temperature": 1.4, "max_tokens": 9}]
    for options in asked:
        ours: dict[str, Any] = {"max_new_tokens" if name == "max_tokens" else name: value for name, value in options.items()}
        expected = [one["generated_text"] for one in generate(server, TEXTS, **ours)]
        answer = client.infer(ENDLESS, [tensor(TEXTS, sends_bytes)], outputs=outputs, parameters=options, model_version="1")
        assert texts_of(answer.as_numpy("text_output")) == expected


def test_one_output_may_come_as_bytes_and_another_as_json(client: Any, server: Server) -> None:
    outputs = [triton.InferRequestedOutput("scores", binary_data=False), triton.InferRequestedOutput("labels")]
    answer = client.infer(CLASSIFIER, [tensor(TEXTS, shape=[3, 1])], outputs=outputs, parameters={"top_k": 1})
    expected = classify(server, TEXTS, top_k=1)
    assert texts_of(answer.as_numpy("labels")) == [[text[0]["label"]] for text in expected]
    assert answer.as_numpy("scores").shape == (3, 1)


def test_many_requests_at_once_are_each_answered(client: Any, server: Server) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=8) as client:
        asked = [client.async_infer(ENDING, [tensor([text])]) for text in TEXTS * 8]
        answers = [texts_of(request.get_result().as_numpy("text_output"))[0] for request in asked]
    assert answers == [one["generated_text"] for one in generate(server, TEXTS, ENDING)] * 8


def test_the_asynchronous_client_is_answered(server: Server) -> None:
    aio = pytest.importorskip("tritonclient.http.aio", reason="tritonclient[http] is not installed with aiohttp")

    async def ask() -> Any:
        async with aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            return (await client.infer(CLASSIFIER, [tensor(TEXTS)])).as_numpy("labels")

    assert texts_of(asyncio.run(ask())) == [[one["label"] for one in text] for text in classify(server, TEXTS)]


def refusal(client: Any, model: str = CLASSIFIER, inputs: Any = None, **options: Any) -> tuple[str, str]:
    with pytest.raises(utils.InferenceServerException) as caught:
        client.infer(model, [tensor(TEXTS)] if inputs is None else inputs, **options)
    return caught.value.status(), caught.value.message()


def test_a_fault_is_the_clients_own_exception(client: Any) -> None:
    assert refusal(client, model_version="7") == ("404", f"{CLASSIFIER}: version '7' does not serve; version 1 does")
    assert refusal(client, "nothing")[0] == "404"
    assert refusal(client, parameters={"wings": 2}) == ("422", "parameters.wings: there is no such field")
    assert refusal(client, sequence_id=3, sequence_start=True)[0] == "422"
    assert refusal(client, inputs=[tensor(["a", " "])]) == ("422", "text_input[1]: is empty")
    assert refusal(client, inputs=[tensor(["a " * 1025])])[0] == "413"
    assert refusal(client, outputs=[triton.InferRequestedOutput("nothing")]) == (
        "422",
        "outputs: there is no 'nothing'; there are labels, scores",
    )
    with pytest.raises(utils.InferenceServerException, match="there is no model 'nothing'"):
        client.get_model_metadata("nothing")


def test_a_time_limit_of_microseconds_is_a_deadline_and_frees_the_row(client: Any, server: Server) -> None:
    options = {"max_tokens": FOREVER, "seed": 1, "temperature": 1.0}
    status, sentence = refusal(client, ENDLESS, [tensor(TEXTS[:1])], parameters=options, timeout=200_000)
    assert (status, "longer than it may" in sentence) == ("504", True)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_a_full_service_is_the_clients_own_exception(full: Any) -> None:
    server, app = full
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client, taken(app, 1):
        status, sentence = refusal(client, ENDLESS, [tensor(TEXTS[:1])])
    assert (status, "try again in" in sentence) == ("429", True)


def test_a_header_is_a_key(guarded: Server) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{guarded.port}") as client:
        assert client.is_server_ready()
        assert refusal(client) == ("401", "this needs a key: authorization: Bearer KEY")
        assert client.infer(CLASSIFIER, [tensor(TEXTS)], headers={"authorization": f"Bearer {KEY}"}).as_numpy("labels").size == 6


def test_a_large_answer_may_come_packed(client: Any, server: Server) -> None:
    """Tensors as bytes, after JSON whose length is told of what was unpacked."""
    many = ["오늘 날씨가 좋다"] * 250
    plain = client.infer(ENDLESS, [tensor(many)], parameters={"max_tokens": 20})
    packed = client.infer(ENDLESS, [tensor(many)], parameters={"max_tokens": 20}, response_compression_algorithm="gzip")
    assert packed.as_numpy("text_output").tolist() == plain.as_numpy("text_output").tolist()


def test_a_packed_request_is_refused_by_its_header(client: Any) -> None:
    status, sentence = refusal(client, request_compression_algorithm="gzip")
    assert (status, sentence) == ("422", "content-encoding: a body is read as it is; send it without")
