"""service.http.requests: every bound, and for what is out of bounds a sentence that names the field."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError

from service.http.requests import MANY_FAULTS, ClassifyParameters, GenerateParameters, GenerateRequest, describe
from tests.service.http.ask import PROMPT, classify, generate, refusal

GENERATE, CLASSIFY = "/generate", "/classify"
INTEGER, NUMBER, BOOLEAN = "Input should be a valid integer", "Input should be a valid number", "Input should be a valid boolean"


def _inputs(path: str) -> list[tuple[str, Any, str]]:
    """What is wrong with the part that both routes share."""
    wrong: list[tuple[Any, str]] = [
        ({}, "inputs: Field required"),
        ({"inputs": ""}, "inputs: is empty"),
        ({"inputs": " \t\n\u3000"}, "inputs: is empty"),
        ({"inputs": []}, "inputs: the list is empty"),
        ({"inputs": ["오늘", ""]}, "inputs[1]: is empty"),
        ({"inputs": ["오늘", "  "]}, "inputs[1]: is empty"),
        ({"inputs": ["오늘", "좋다", 5]}, "inputs[2]: must be a text"),
        ({"inputs": ["오늘", None]}, "inputs[1]: must be a text"),
        ({"inputs": [["오늘"]]}, "inputs[0]: must be a text"),
        ({"inputs": [{"text": "오늘"}]}, "inputs[0]: must be a text"),
        ({"inputs": 5}, "inputs: must be a text or a list of texts"),
        ({"inputs": None}, "inputs: must be a text or a list of texts"),
        ({"inputs": True}, "inputs: must be a text or a list of texts"),
        ({"inputs": {"text": "오늘"}}, "inputs: must be a text or a list of texts"),
        ({"inputs": "▁"}, "inputs: has no word that "),
        ({"inputs": ["오늘", "▁ ▁"]}, "inputs[1]: has no word that "),
        ({"inputs": "오늘", "input": "오늘"}, "input: there is no such field"),
        ({"inputs": "오늘", "parameters": None}, "parameters: "),
        ({"inputs": "오늘", "parameters": []}, "parameters: "),
        ({"inputs": "오늘", "parameters": {"max_tokens": 5}}, "parameters.max_tokens: there is no such field"),
        ({"inputs": "오늘", "model": 5}, "model: Input should be a valid string"),
        ({"inputs": "오늘", "model": "a" * 101}, "model: String should have at most 100 characters"),
        ([], "the body: Input should be an object"),
        (None, "the body: Input should be an object"),
        ("오늘", "the body: Input should be an object"),
        (5, "the body: Input should be an object"),
    ]
    return [(path, body, sentence) for body, sentence in wrong]


def _options(path: str, **wrong: list[tuple[Any, str]]) -> list[tuple[str, Any, str]]:
    return [
        (path, {"inputs": "오늘", "parameters": {name: value}}, f"parameters.{name}: {sentence}")
        for name, values in wrong.items()
        for value, sentence in values
    ]


def _together(sentence: str, **parameters: Any) -> tuple[str, Any, str]:
    return GENERATE, {"inputs": "오늘", "parameters": parameters}, sentence


ABOVE_0, AT_LEAST_1 = "Input should be greater than 0", "Input should be greater than or equal to 1"

REFUSED = [
    *_inputs(GENERATE),
    *_inputs(CLASSIFY),
    *_options(
        GENERATE,
        max_new_tokens=[
            (-1, "Input should be greater than or equal to 0"),
            (0, "0 writes nothing; set details"),
            (513, "the largest is 512"),
            (10**30, "the largest is 512"),
            ("5", INTEGER),
            (5.0, INTEGER),
            (5.5, INTEGER),
            (True, INTEGER),
            (None, INTEGER),
            ([5], INTEGER),
        ],
        do_sample=[(1, BOOLEAN), ("true", BOOLEAN), (0.0, BOOLEAN)],
        temperature=[(0, ""), (-1, ""), (100.1, ""), ("1", NUMBER), (True, NUMBER), ([], NUMBER)],
        top_k=[(0, AT_LEAST_1), (-1, AT_LEAST_1), ("5", INTEGER), (1.5, INTEGER), (True, INTEGER)],
        top_p=[(0, ABOVE_0), (1.5, "Input should be less than or equal to 1"), (-0.1, ABOVE_0), ("1", NUMBER), (True, NUMBER)],
        typical_p=[(0, ABOVE_0), (1.5, "Input should be less than or equal to 1"), ("1", NUMBER), (True, NUMBER)],
        repetition_penalty=[(0, ""), (-1, ""), (100.5, ""), ("1", NUMBER)],
        frequency_penalty=[(-2.1, ""), (2.1, ""), ("1", NUMBER)],
        seed=[(-1, ""), (2**64, ""), (1.0, INTEGER), ("1", INTEGER), (True, INTEGER)],
        stop=[("x", "Input should be a valid array"), (["x"] * 9, "List should have at most 8 items"), (None, "")],
        return_full_text=[(1, BOOLEAN), ("yes", BOOLEAN), (None, BOOLEAN)],
        truncate=[(0, AT_LEAST_1), (-1, AT_LEAST_1), (True, INTEGER), ("5", INTEGER)],
        n=[(0, AT_LEAST_1), (-1, AT_LEAST_1), ("2", INTEGER), (True, INTEGER), (2.0, INTEGER), (2, "without sampling")],
        best_of=[(0, AT_LEAST_1), ("2", INTEGER), (True, INTEGER), (2, "without sampling")],
        top_n_tokens=[
            (0, AT_LEAST_1),
            (21, "Input should be less than or equal to 20"),
            (True, INTEGER),
            (5, "is told in details"),
        ],
        details=[(1, BOOLEAN), ("true", BOOLEAN), (None, BOOLEAN)],
        decoder_input_details=[(1, BOOLEAN), ("yes", BOOLEAN), (None, BOOLEAN), (True, "is told in details; set details")],
        return_state=[(1, BOOLEAN), ("true", BOOLEAN), (None, BOOLEAN)],
    ),
    (GENERATE, {"inputs": "오늘", "parameters": {"stop": ["a", ""]}}, "parameters.stop.1: String should have at least 1 character"),
    (GENERATE, {"inputs": "오늘", "parameters": {"stop": ["a" * 201]}}, "parameters.stop.0: String should have at most 200"),
    (GENERATE, {"inputs": "오늘", "parameters": {"stop": [5]}}, "parameters.stop.0: Input should be a valid string"),
    *[
        _together(f"parameters.{name}: has no effect with do_sample false", do_sample=False, **{name: value})
        for name, value in {"temperature": 1.0, "top_k": 5, "top_p": 0.5, "typical_p": 0.5}.items()
    ],
    _together("parameters.best_of: cannot be less than n", n=3, best_of=2, do_sample=True),
    _together("parameters.best_of: cannot be less than n", n=2, best_of=1, do_sample=True),
    _together("parameters.n: without sampling", n=2, do_sample=False),
    _together("parameters.n: the largest is 8", n=9, do_sample=True),
    _together("parameters.max_new_tokens: 0 writes nothing", max_new_tokens=0, details=False),
    *[
        _together(f"parameters.{name}: has no effect where max_new_tokens is 0", max_new_tokens=0, details=True, **{name: value})
        for name, value in {
            "do_sample": True,
            "stop": ["x"],
            "repetition_penalty": 1.5,
            "frequency_penalty": 1.0,
        }.items()
    ],
    *[
        _together("parameters.do_sample: has no effect where max_new_tokens is 0", max_new_tokens=0, details=True, **{name: value})
        for name, value in {"temperature": 1.0, "top_k": 5, "top_p": 0.5, "typical_p": 0.5}.items()
    ],
    _together("parameters.seed: has no effect on a greedy answer", max_new_tokens=0, details=True, seed=1),
    _together("parameters.n: without sampling", max_new_tokens=0, details=True, n=2),
    _together("parameters.best_of: without sampling", best_of=2, do_sample=False),
    _together("parameters.best_of: the largest is 8", best_of=9, do_sample=True),
    (GENERATE, {"inputs": "오늘", "stream": 1}, f"stream: {BOOLEAN}"),
    (GENERATE, {"inputs": "오늘", "stream": None}, f"stream: {BOOLEAN}"),
    (GENERATE, {"inputs": ["오늘"], "stream": True}, "stream: takes one text, not a list"),
    (GENERATE, {"inputs": ["오늘"], "state": "abc"}, "state: goes with one text, not with a list"),
    (GENERATE, {"state": "abc"}, "inputs: Field required"),
    (GENERATE, {"inputs": None, "state": "abc"}, "inputs: must be a text or a list of texts"),
    (GENERATE, {"inputs": "", "state": None}, "inputs: is empty"),
    (GENERATE, {"inputs": "오늘", "state": 5}, "state: Input should be a valid string"),
    (GENERATE, {"inputs": "오늘", "model": "bilstm1-classify"}, "model: bilstm1-classify is for /classify, not for /generate"),
    *_options(
        CLASSIFY,
        top_k=[(0, AT_LEAST_1), (-1, AT_LEAST_1), ("1", INTEGER), (1.0, INTEGER), (True, INTEGER)],
        function_to_apply=[("Softmax", "Input should be "), ("", "Input should be "), (None, "Input should be "), (1, "")],
        temperature=[(1.0, "there is no such field")],
        details=[(1, BOOLEAN), (None, BOOLEAN)],
        return_state=[(True, "there is no such field")],
    ),
    (CLASSIFY, {"inputs": "오늘", "stream": False}, "stream: there is no such field"),
    (CLASSIFY, {"inputs": "오늘", "model": "lstm1-generate"}, "model: lstm1-generate is for /generate, not for /classify"),
]


def _name(case: Any) -> str | None:
    return json.dumps(case, ensure_ascii=True)[:70] if isinstance(case, dict | list) else None


@pytest.mark.parametrize(("path", "body", "sentence"), REFUSED, ids=_name)
def test_a_request_out_of_bounds_is_refused_by_the_fields_name_and_the_next_one_answered(
    path: str, body: Any, sentence: str, service: TestClient
) -> None:
    told = refusal(service.post(path, content=json.dumps(body).encode()), 422, "validation")
    assert told.startswith(sentence)
    assert "\n" not in told
    assert "value error" not in told.lower()
    assert generate(service, max_new_tokens=1) if path == GENERATE else classify(service)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "typical_p", "repetition_penalty", "frequency_penalty"])
def test_a_number_that_is_none_is_refused_by_the_fields_name(name: str, number: str, service: TestClient) -> None:
    body = f'{{"inputs": "오늘", "parameters": {{"{name}": {number}}}}}'
    told = refusal(service.post(GENERATE, content=body.encode()), 422, "validation")
    assert told.startswith(f"parameters.{name}: ")


def test_a_seed_without_sampling_is_refused_because_no_option_is_accepted_and_ignored(service: TestClient) -> None:
    for options in ({"seed": 1}, {"seed": 1, "do_sample": False}):
        told = refusal(service.post(GENERATE, json={"inputs": "오늘", "parameters": options}), 422, "validation")
        assert told.startswith("parameters.seed: ")


AT_THE_BOUND: list[dict[str, Any]] = [
    {"max_new_tokens": 1},
    {"max_new_tokens": 512},
    {"temperature": 100},
    {"top_k": 1},
    {"top_p": 1},
    {"typical_p": 1},
    {"repetition_penalty": 100},
    {"frequency_penalty": -2},
    {"frequency_penalty": 2},
    {"seed": 0, "do_sample": True},
    {"seed": 2**64 - 1, "do_sample": True},
    {"stop": []},
    {"stop": ["x" * 200] * 8},
    {"truncate": 1},
    {"best_of": 1},
    {"best_of": 8, "do_sample": True},
    {"best_of": 1, "seed": 1, "do_sample": True},
    {"best_of": 1},
    {"n": 1},
    {"n": 1, "best_of": 1},
    {"n": 8, "do_sample": True},
    {"n": 8, "best_of": 8, "seed": 2**64 - 1, "do_sample": True},
    {"max_new_tokens": 0, "details": True},
    {"max_new_tokens": 0, "details": True, "top_n_tokens": 20},
    {"max_new_tokens": 0, "details": True, "decoder_input_details": True, "return_state": True},
    {"max_new_tokens": 0, "return_state": True},
    {"max_new_tokens": 0, "return_state": True, "do_sample": False, "stop": []},
    {"details": True, "decoder_input_details": True},
    {"decoder_input_details": False},
    {"return_state": True},
    {"top_n_tokens": 20, "details": True},
    {"return_state": False},
    {"do_sample": None, "temperature": None, "top_k": None, "top_p": None, "typical_p": None, "seed": None},
    {},
]


@pytest.mark.parametrize("options", AT_THE_BOUND, ids=_name)
def test_what_stands_at_a_bound_is_answered(options: dict[str, Any], service: TestClient) -> None:
    assert generate(service, **options)


def test_what_nobody_needs_may_be_declined_in_so_many_words(service: TestClient) -> None:
    options = {"return_state": False, "decoder_input_details": False, "n": None, "best_of": None}
    body = {"inputs": "오늘", "stream": False, "state": None, "model": None, "parameters": options}
    assert service.post(GENERATE, json=body).json() == generate(service, "오늘")


@pytest.mark.parametrize("option", [{"temperature": 1.0}, {"top_k": 5}, {"top_p": 0.5}, {"typical_p": 0.5}])
def test_any_option_of_drawing_switches_drawing_on(option: dict[str, Any]) -> None:
    assert GenerateParameters(**option).samples
    assert not GenerateParameters().samples
    assert GenerateParameters(do_sample=True).samples


def test_no_request_can_be_changed_once_read() -> None:
    request = GenerateRequest.model_validate_json('{"inputs": "오늘"}')
    with pytest.raises(ValidationError, match="frozen"):
        request.stream = True  # type: ignore[misc]


@pytest.mark.parametrize("parameters", [GenerateParameters, ClassifyParameters])
def test_every_option_explains_itself_in_the_docs(parameters: type[BaseModel]) -> None:
    for name, field in parameters.model_json_schema()["properties"].items():
        assert field.get("description"), f"{name} is not explained"


def test_a_text_and_a_list_of_one_are_told_apart() -> None:
    one = GenerateRequest.model_validate_json('{"inputs": "오늘"}').inputs
    many = GenerateRequest.model_validate_json('{"inputs": ["오늘"]}').inputs
    assert one.texts == many.texts == ["오늘"]
    assert (one.is_list, many.is_list) == (False, True)


@pytest.mark.parametrize("name", ["", "a\nb", "\u2028", "inputs "])
def test_a_field_with_a_strange_name_is_refused_in_one_line_that_can_be_read(name: str) -> None:
    with pytest.raises(ValidationError) as fault:
        GenerateRequest.model_validate_json(json.dumps({"inputs": "a", name: 1}))
    sentence = str(describe(fault.value))
    assert sentence.splitlines() == [sentence]
    assert sentence.endswith(": there is no such field")
    assert not sentence.startswith(":")


@pytest.mark.parametrize("path", ["/generate", "/classify"])
@pytest.mark.parametrize("name", ["", "../lstm1-generate", "lstm1-generate\n", "Korean", "한국어"])
def test_a_model_that_is_not_there_is_not_found_whatever_its_name(path: str, name: str, service: TestClient) -> None:
    sentence = refusal(service.post(path, json={"inputs": PROMPT, "model": name}), 404, "not_found")
    assert sentence.startswith("model: there is no ")


@pytest.mark.parametrize("name", ["n", "best_of"])
def test_several_answers_count_towards_what_a_request_may_ask_for(name: str, service: TestClient) -> None:
    parameters = {"max_new_tokens": 512, "do_sample": True, name: 8}
    sentence = refusal(service.post("/generate", json={"inputs": [PROMPT] * 17, "parameters": parameters}), 413, "too_large")
    assert sentence.startswith("inputs: 17 texts with these parameters ask for up to 69632 tokens")


def test_a_request_for_more_than_the_service_writes_is_too_large(service: TestClient) -> None:
    parameters = {"max_new_tokens": 512, "details": True, "top_n_tokens": 20}
    sentence = refusal(service.post("/generate", json={"inputs": [PROMPT] * 7, "parameters": parameters}), 413, "too_large")
    assert sentence.startswith("inputs: 7 texts with these parameters ask for up to 75264 tokens")
    assert generate(service, max_new_tokens=1)


def test_the_likeliest_words_of_a_prompt_count_towards_what_a_request_may_ask_for(service: TestClient) -> None:
    texts = ["the cat " * 425] * 4
    parameters = {"max_new_tokens": 0, "details": True, "top_n_tokens": 20}
    sentence = refusal(service.post("/generate", json={"inputs": texts, "parameters": parameters}), 413, "too_large")
    assert sentence.startswith("inputs: 3400 words with these parameters are told with up to 71400 tokens")
    assert generate(service, texts, max_new_tokens=0, details=True)


def test_the_words_of_a_prompt_that_details_tell_count_towards_what_a_request_may_ask_for(service: TestClient) -> None:
    texts, parameters = ["the cat " * 425] * 10, {"max_new_tokens": 1, "details": True, "n": 8, "seed": 1, "do_sample": True}
    sentence = refusal(service.post("/generate", json={"inputs": texts, "parameters": parameters}), 413, "too_large")
    assert sentence.startswith("inputs: 8500 words with these parameters are told with up to 68000 tokens")


def test_of_many_faults_the_number_is_told_for_to_tell_each_would_take_longer_than_to_find_them() -> None:
    many = {f"field{index}": 0 for index in range(MANY_FAULTS + 1)}
    with pytest.raises(ValidationError) as fault:
        GenerateRequest.model_validate({"inputs": "오늘", **many})
    assert str(describe(fault.value)) == f"the body has {len(many)} faults"
