"""service.metrics: everything is counted, under labels that nobody outside can write."""

import math
import platform
import time
from typing import Any, get_args

import onnxruntime
import pytest
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.http.schemas import ErrorType
from service.metrics import CONTENT_TYPE, Metrics, Phase
from service.version import VERSION
from tests.conftest import CLASSIFIERS, GENERATORS
from tests.service.http.ask import PROMPT, classify, generate
from tests.service.http.test_app import ROUTES

GENERATE, CLASSIFY = "lstm1-generate", "bilstm1-classify"


def scrape(client: TestClient) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}


def value(client: TestClient, sample: str, **labels: str) -> float:
    found = [
        one.value
        for family in scrape(client).values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    ]
    return sum(found)


def test_the_text_is_what_prometheus_reads(client: TestClient) -> None:
    generate(client)
    response = client.get("/metrics")
    assert response.headers["content-type"] == CONTENT_TYPE
    families = scrape(client)
    ours = {name for name in families if name.startswith("seqserve_") and not name.endswith("_created")}
    assert ours == {
        "seqserve_requests",
        "seqserve_request_seconds",
        "seqserve_encode_seconds",
        "seqserve_queue_seconds",
        "seqserve_inference_seconds",
        "seqserve_first_word_seconds",
        "seqserve_word_seconds",
        "seqserve_batch_seconds",
        "seqserve_batch_rows",
        "seqserve_batches",
        "seqserve_padded_words",
        "seqserve_real_words",
        "seqserve_read_words",
        "seqserve_unknown_words",
        "seqserve_generated_words",
        "seqserve_score_entropy_ratio",
        "seqserve_inputs",
        "seqserve_rows_in_use",
        "seqserve_waiting",
        "seqserve_parked",
        "seqserve_refused",
        "seqserve_prefix_cache_lookups",
        "seqserve_prefix_cache_words",
        "seqserve_prefix_cache_bytes",
        "seqserve_model_info",
        "seqserve_model_loads",
        "seqserve_refused_models",
        "seqserve_build_info",
    }
    assert all(families[name].documentation for name in ours)
    assert {"process_resident_memory_bytes", "python_info"} <= set(families)


def test_two_services_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    labels = {"route": "/generate", "model": "words", "status": "200", "outcome": "answer"}
    first.requests.labels(**labels).inc()
    assert first.registry.get_sample_value("seqserve_requests_total", labels) == 1
    assert second.registry.get_sample_value("seqserve_requests_total", labels) is None


def test_requests_are_counted_by_route_model_status_and_outcome(client: TestClient) -> None:
    requests: list[tuple[str, Any, str, str, str]] = [
        ("/generate", {"inputs": PROMPT}, GENERATE, "200", "answer"),
        ("/generate", {"inputs": "\0"}, GENERATE, "422", "validation"),
        ("/generate", {"inputs": 5}, "", "422", "validation"),
        ("/generate", {"inputs": PROMPT, "model": "nothing"}, "", "404", "not_found"),
        ("/generate_stream", {"inputs": PROMPT}, GENERATE, "200", "answer"),
        ("/classify", {"inputs": PROMPT}, CLASSIFY, "200", "answer"),
        ("/classify", {"inputs": ["a"] * 257}, "", "413", "too_large"),
        ("/livez", {}, "", "405", "method_not_allowed"),
    ]
    for path, body, *_ in requests:
        for _ in range(3):
            client.post(path, json=body)
    for path, _, model, status, outcome in requests:
        told = value(client, "seqserve_requests_total", route=path, model=model, status=status, outcome=outcome)
        assert told == 3, (path, status)
    assert value(client, "seqserve_request_seconds_count", route="/generate", model=GENERATE) == 6
    assert value(client, "seqserve_request_seconds_count", route="/generate", model="") == 6


def test_a_request_is_timed_where_it_is_encoded_waits_and_is_worked_on(client: TestClient) -> None:
    before = time.monotonic()
    for _ in range(5):
        generate(client, max_new_tokens=50)
        classify(client)
    most_s = time.monotonic() - before
    for model, route in ((GENERATE, "/generate"), (CLASSIFY, "/classify")):
        parts = [f"seqserve_{part}_seconds" for part in ("encode", "queue", "inference")]
        assert [value(client, f"{part}_count", model=model) for part in parts] == [5, 5, 5]
        sums = [value(client, f"{part}_sum", model=model) for part in parts]
        assert min(sums) > 0
        assert sum(sums) <= value(client, "seqserve_request_seconds_sum", route=route) < most_s


def test_who_waits_for_words_is_timed(client: TestClient) -> None:
    words = [len(generate(client, max_new_tokens=most, details=True)["details"]["tokens"]) for most in (1, 30)]
    assert words[0] == 1 < words[1]
    assert value(client, "seqserve_first_word_seconds_count", model=GENERATE) == 2
    assert value(client, "seqserve_word_seconds_count", model=GENERATE) == 1  # a single word has no other
    assert value(client, "seqserve_generated_words_total", model=GENERATE) == sum(words)
    rest_s = value(client, "seqserve_word_seconds_sum", model=GENERATE) * (words[1] - 1)
    first_s = value(client, "seqserve_first_word_seconds_sum", model=GENERATE)
    assert 0 < first_s + rest_s < value(client, "seqserve_request_seconds_sum", route="/generate")


def test_words_that_a_model_does_not_know_are_counted(client: TestClient) -> None:
    for ask, model in ((generate, GENERATE), (classify, CLASSIFY)):
        ask(client, PROMPT)
        read = value(client, "seqserve_read_words_total", model=model)
        assert read > 0
        assert value(client, "seqserve_unknown_words_total", model=model) == 0
        ask(client, "쀍쀍 " + PROMPT)
        assert value(client, "seqserve_unknown_words_total", model=model) == 1
        assert value(client, "seqserve_read_words_total", model=model) == 2 * read + 1
        client.post("/generate", json={"inputs": "쀍쀍", "parameters": {"best_of": 9}})  # refused: nobody has read it
        assert value(client, "seqserve_unknown_words_total", model=model) == 1


def test_how_sure_a_classifier_is_is_counted_once_a_text(client: TestClient) -> None:
    scores = classify(client, [PROMPT, "a", "b c"])
    told = -sum(one["score"] * math.log(one["score"]) for text in scores for one in text) / math.log(len(scores[0]))
    assert value(client, "seqserve_score_entropy_ratio_count", model=CLASSIFY) == 3
    assert value(client, "seqserve_score_entropy_ratio_sum", model=CLASSIFY) == pytest.approx(told, rel=1e-6)


def test_what_it_is_made_of_is_told(client: TestClient) -> None:
    built = {"version": VERSION, "python": platform.python_version(), "onnxruntime": onnxruntime.__version__, "provider": "cpu"}
    assert value(client, "seqserve_build_info", **built) == 1


def test_every_route_is_counted_under_its_own_name(client: TestClient) -> None:
    for path, method in ROUTES.items():
        client.request(method, path)
    counted = {one.labels["route"] for one in scrape(client)["seqserve_requests"].samples}
    assert set(ROUTES) <= counted


def test_what_a_client_makes_up_becomes_no_label(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/secret-{number}")
        client.post(f"/generate/{number}", json={"inputs": PROMPT})
        client.post("/generate", json={"inputs": f"secret-{number}", "model": f"secret-{number}"})
        client.post("/generate", json={f"secret-{number}": 1}, headers={"x-request-id": f"secret-{number}"})
        client.request(f"SECRET{number}", "/generate")
        client.get(f"/docs/assets/secret-{number}.js")
    text = client.get("/metrics").text
    assert "secret" not in text.lower()
    routes = {one.labels["route"] for one in scrape(client)["seqserve_requests"].samples}
    assert "other" in routes
    assert routes <= {*ROUTES, "/docs/assets", "other"}


def test_every_label_is_one_of_a_known_few(client: TestClient) -> None:
    generate(client, [PROMPT, "a"])
    classify(client, ["a", PROMPT])
    known = {
        "model": {"", *(small.name for small in (*GENERATORS, *CLASSIFIERS))},
        "phase": {"prefill", "decode", "classify"},
        "outcome": {"answer", "left", "error", "cancelled", "served", "refused", "method_not_allowed", *get_args(ErrorType)},
        "reason": {"drained", "padding", "budget"},
        "result": {"hit", "miss"},
        "task": {"generate", "classify"},
        "version": {"1", VERSION},
    }
    for name, family in scrape(client).items():
        for one in family.samples if name.startswith("seqserve_") else []:
            for label, text in one.labels.items():
                assert label in (*known, "route", "status", "le", "python", "onnxruntime", "provider")
                assert text in known.get(label, {text})


def test_after_the_last_answer_no_row_is_in_use_and_nothing_waits(client: TestClient) -> None:
    generate(client, [PROMPT] * 100, max_new_tokens=30)
    classify(client, [PROMPT] * 100)
    # The answer goes out before the round that wrote it has ended: the next answer comes after that.
    generate(client, max_new_tokens=2)
    classify(client)
    for model in (GENERATE, CLASSIFY):
        assert value(client, "seqserve_waiting", model=model) == 0
    eventually_zero(client, "seqserve_rows_in_use")


def eventually_zero(client: TestClient, sample: str, asked: int = 200) -> None:
    """A scrape takes milliseconds, the end of a round a fraction of one."""
    assert any(value(client, sample) == 0 for _ in range(asked))


def test_inputs_are_counted_by_how_they_ended(client: TestClient) -> None:
    generate(client, [PROMPT] * 5)
    generate(client, best_of=3, do_sample=True)
    classify(client, [PROMPT] * 7)
    assert value(client, "seqserve_inputs_total", model=GENERATE, outcome="answer") == 8
    assert value(client, "seqserve_inputs_total", model=CLASSIFY, outcome="answer") == 7
    assert value(client, "seqserve_inputs_total", outcome="error") == 0
    assert value(client, "seqserve_inputs_total", outcome="cancelled") == 0


def test_words_are_counted_with_padding_and_without(client: TestClient) -> None:
    classify(client, ["좋다", "좋다 좋다 좋다 좋다"])
    assert value(client, "seqserve_real_words_total", model=CLASSIFY) == 5
    assert value(client, "seqserve_padded_words_total", model=CLASSIFY) == 8


def test_a_phase_counts_a_batch_by_its_time_its_rows_and_its_words() -> None:
    metrics = Metrics()
    phase = Phase(metrics, "words", "prefill")
    phase.observe(0.25, rows=3, padded_words=12, real_words=7)
    phase.observe(0.5, rows=2, padded_words=2, real_words=2)
    Phase(metrics, "words", "decode").observe(1.0, rows=1, padded_words=1, real_words=1)
    labels = {"model": "words", "phase": "prefill"}
    samples = {
        name: metrics.registry.get_sample_value(f"seqserve_{name}", labels)
        for name in ("batch_seconds_sum", "batch_seconds_count", "batch_rows_sum", "batch_rows_count")
    }
    assert samples == {"batch_seconds_sum": 0.75, "batch_seconds_count": 2, "batch_rows_sum": 5, "batch_rows_count": 2}
    assert metrics.registry.get_sample_value("seqserve_padded_words_total", {"model": "words"}) == 15
    assert metrics.registry.get_sample_value("seqserve_real_words_total", {"model": "words"}) == 10


def test_a_prompt_that_was_read_before_is_counted_as_found(client: TestClient) -> None:
    for _ in range(3):
        generate(client)
    assert value(client, "seqserve_prefix_cache_lookups_total", model=GENERATE, result="miss") == 1
    assert value(client, "seqserve_prefix_cache_lookups_total", model=GENERATE, result="hit") == 2
    assert value(client, "seqserve_prefix_cache_words_total", model=GENERATE) > 0
    assert value(client, "seqserve_prefix_cache_bytes", model=GENERATE) > 0


def test_classification_batches_are_counted_by_why_they_held_no_more(client: TestClient) -> None:
    classify(client)
    assert value(client, "seqserve_batches_total", model=CLASSIFY, reason="drained") == 1
    assert value(client, "seqserve_batches_total") == 1


def test_batches_are_counted_by_phase(client: TestClient) -> None:
    details = generate(client, frequency_penalty=2.0, details=True)["details"]
    assert value(client, "seqserve_batch_rows_count", model=GENERATE, phase="prefill") == 1
    # The prompt's last word is read by the step that says the first one.
    assert value(client, "seqserve_batch_rows_count", model=GENERATE, phase="decode") == details["generated_tokens"]
    assert value(client, "seqserve_batch_seconds_count", model=GENERATE, phase="prefill") == 1
    assert value(client, "seqserve_queue_seconds_count", model=GENERATE) == 1


def test_inputs_that_a_full_queue_refused_are_counted(client: TestClient) -> None:
    assert value(client, "seqserve_refused_total") == 0
    response = client.post("/generate", json={"inputs": [PROMPT] * 256, "parameters": {"best_of": 8, "do_sample": True}})
    assert response.status_code in (413, 429)
    assert value(client, "seqserve_refused_total", model=GENERATE) == (2048 if response.status_code == 429 else 0)


def test_models_that_serve_are_told_with_version_and_task(client: TestClient) -> None:
    assert value(client, "seqserve_model_info", model=GENERATE, version="1", task="generate") == 1
    assert value(client, "seqserve_model_info") == len((*GENERATORS, *CLASSIFIERS))
    assert value(client, "seqserve_refused_models") == 0
