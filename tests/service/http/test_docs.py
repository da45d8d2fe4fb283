"""GET /docs, /redoc and /openapi.json: whole, true, and without any outside host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import BaseModel

from service.errors import RequestError
from service.http.requests import ClassifyRequest, GenerateParameters, GenerateRequest
from service.http.schemas import Details, ErrorAnswer, GenerateAnswer, StreamDetails, StreamEvent
from tests.service.http.forms import ALL, Form
from tests.service.http.test_app import ROUTES

DOCUMENTED = {path: method.lower() for path, method in ROUTES.items() if path not in ("/docs", "/redoc", "/openapi.json")} | {
    f"/models/{{name}}/{change}": "post" for change in ("pin", "rollback", "load", "unload")
}
DOCUMENTED |= {f"/models/{{name}}/{file}": "get" for file in ("card", "curves.png", "confusion.png", "calibration.png")}
DOCUMENTED |= {form.route: "post" for form in ALL.values()}
DOCUMENTED |= {form.route.replace("{name}", "{name}/versions/{version}"): "post" for form in ALL.values() if "/v2/" in form.route}
DOCUMENTED |= dict.fromkeys(["/v1/models", "/v1/models/{name}", "/v2", "/v2/health/live", "/v2/health/ready"], "get")
DOCUMENTED |= {f"/v2/models/{{name}}{rest}": "get" for rest in ("", "/ready", "/versions/{version}", "/versions/{version}/ready")}


INFERENCES = ["/generate", "/generate_stream", "/classify"]


class Links(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "action") and value]


def within(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document, itself included."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from within(child)


@pytest.fixture(scope="module", params=["/docs", "/redoc"])
def page(request: pytest.FixtureRequest, service: TestClient) -> Response:
    response = service.get(request.param)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    return response


@pytest.fixture(scope="module")
def document(service: TestClient) -> Any:
    return service.get("/openapi.json").json()


def test_the_page_names_no_outside_host(page: Response) -> None:
    assert re.findall(r"https?://|[\"'(]//", page.text) == []


def test_everything_that_the_page_fetches_is_served_here(page: Response, service: TestClient) -> None:
    links = Links(page.text).found
    assert {link.rsplit(".", 1)[-1] for link in links} >= {"js", "png"}
    for link in links:
        response = service.get(link)
        assert response.status_code == 200
        assert len(response.content) > 100
        assert re.match("(text|application)/javascript|text/css|image/png", response.headers["content-type"])


def test_no_file_of_the_page_fetches_anything_from_outside(page: Response, service: TestClient) -> None:
    """Unless the page itself forbids it, by its content security policy."""
    forbidden = "img-src 'self'" in page.headers.get("content-security-policy", "")
    fetched = r"""(?:\bsrc[:=]|\burl\(|@import)\s*["']?((?:https?:)?//[^"')]+)"""
    read = [link for link in Links(page.text).found if not link.endswith(".png")]
    assert read
    assert forbidden or [link for link in read if re.findall(fetched, service.get(link).text)] == []


def test_the_page_reads_the_document_that_is_served_here(page: Response, service: TestClient) -> None:
    (url,) = re.findall(r"(?:url: '|spec-url=\")([^'\"]+)", page.text)
    assert service.get(url).json()["info"]["title"] == "seqserve"


def test_the_page_can_draw_the_version_of_openapi_that_is_served(document: Any, service: TestClient) -> None:
    """Swagger UI draws OpenAPI 3.1 from its version 5 on; before, it says that it cannot render the definition."""
    (script,) = [link for link in Links(service.get("/docs").text).found if link.endswith(".js")]
    assert document["openapi"].startswith("3.0.") or "isOAS31" in service.get(script).text


def test_every_reference_of_the_document_leads_somewhere(document: Any) -> None:
    references = [found["$ref"] for found in within(document) if "$ref" in found]
    assert references
    for reference in references:
        assert reference.startswith("#/")
        target = document
        for part in reference[2:].split("/"):
            target = target[part]
        assert isinstance(target, dict)


def test_every_route_is_documented_with_its_method_and_no_other_is(document: Any) -> None:
    documented = {path: list(methods) for path, methods in document["paths"].items()}
    assert documented == {path: [method] for path, method in DOCUMENTED.items()}


def test_every_operation_has_a_name_of_its_own_a_summary_and_answers(document: Any) -> None:
    assert document["openapi"].startswith("3.")
    assert set(document["info"]) >= {"title", "version", "description"}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert "200" in operation["responses"]
        for response in operation["responses"].values():
            assert response["description"]


@pytest.mark.parametrize("path", INFERENCES)
def test_an_inference_documents_its_body_and_every_error(path: str, document: Any) -> None:
    operation = document["paths"][path]["post"]
    assert operation["requestBody"]["required"]
    schema = resolve(document, operation["requestBody"]["content"]["application/json"]["schema"])
    assert set(schema["properties"]) >= {"inputs", "parameters", "model"}
    assert schema["required"] == ["inputs"]
    assert schema["additionalProperties"] is False
    takes_state = "state" in schema["properties"]
    assert ("409" in operation["responses"]) is takes_state
    for status in ("401", "404", "413", "422", "429", "500", "503", "504"):
        assert resolve(document, operation["responses"][status]["content"]["application/json"]["schema"])["title"] == "ErrorAnswer"


def test_a_stream_is_documented_by_its_events_as_what_it_is_sent_as(document: Any) -> None:
    (kind, content), *others = document["paths"]["/generate_stream"]["post"]["responses"]["200"]["content"].items()
    told = content["schema"]["properties"]["data"]
    event, error = (resolve(document, form) for form in told["contentSchema"]["anyOf"])
    assert (told["type"], told["contentMediaType"], error["title"]) == ("string", "application/json", "ErrorAnswer")
    assert document["paths"]["/generate"]["post"]["responses"]["200"]["content"][kind] == content
    assert others == []
    assert kind == "text/event-stream"
    assert set(event["properties"]) == {"index", "token", "top_tokens", "generated_text", "details", "state"}
    assert set(event["required"]) == {"index", "token", "generated_text", "details"}


def test_an_answer_of_every_form_is_documented(document: Any) -> None:
    """An object, a list of them for a list or for n, and a list of lists for n of a list."""
    forms = document["paths"]["/generate"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    answer = {"$ref": "#/components/schemas/GenerateAnswer"}
    assert answer in forms
    assert {"type": "array", "items": answer} in forms
    assert {"type": "array", "items": {"type": "array", "items": answer}} in forms


def test_every_field_of_a_request_and_of_an_answer_is_documented(document: Any) -> None:
    schemas = document["components"]["schemas"]
    models: list[type[BaseModel]] = [
        GenerateRequest,
        GenerateParameters,
        ClassifyRequest,
        GenerateAnswer,
        Details,
        StreamEvent,
        StreamDetails,
    ]
    for model in models:
        assert set(schemas[model.__name__]["properties"]) == set(model.model_fields)


def test_the_timeout_header_is_told_where_a_deadline_is_documented(document: Any) -> None:
    for path in INFERENCES:
        assert "x-request-timeout" in document["paths"][path]["post"]["responses"]["504"]["description"]


def test_the_bounds_of_options_are_documented(document: Any) -> None:
    options = document["components"]["schemas"]["GenerateParameters"]["properties"]
    assert options["max_new_tokens"]["minimum"] == 0
    assert {"type": "null"} in options["top_p"]["anyOf"]
    number = next(one for one in options["top_p"]["anyOf"] if one["type"] == "number")
    assert (number["exclusiveMinimum"], number["maximum"]) == (0, 1)
    functions = document["components"]["schemas"]["ClassifyParameters"]["properties"]["function_to_apply"]["enum"]
    assert set(functions) == {"softmax", "sigmoid", "none"}


def test_the_documented_words_for_errors_are_those_that_are_sent(document: Any) -> None:
    schema = document["components"]["schemas"]["ErrorAnswer"]
    assert schema["properties"]["error_type"]["enum"] == ErrorAnswer.model_json_schema()["properties"]["error_type"]["enum"]


@pytest.mark.parametrize("path", [*INFERENCES, *dict.fromkeys(form.path() for form in ALL.values())])
def test_the_documented_examples_are_answered(path: str, document: Any, service: TestClient) -> None:
    documented = re.sub("models/[^/]+", "models/{name}", path)
    body = document["paths"][documented]["post"]["requestBody"]["content"]["application/json"]["schema"]
    examples = resolve(document, body)["examples"]
    assert examples
    for example in examples:
        assert service.post(path, json=example).status_code == 200


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_every_form_documents_its_body_and_its_errors(form: Form, document: Any) -> None:
    operation = document["paths"][form.route]["post"]
    schema = resolve(document, operation["requestBody"]["content"]["application/json"]["schema"])
    assert schema["additionalProperties"] is False
    names = re.findall(r"{(\w+)}", form.route)
    assert [(told["name"], told["in"]) for told in operation.get("parameters", [])] == [(name, "path") for name in names]
    openai = form.route.startswith("/v1/")
    for status in ("401", "404", "413", "400" if openai else "422", "429", "500", "503", "504"):
        told = operation["responses"][status]["content"]["application/json"]["schema"]
        assert resolve(document, told)["title"] == ("CompletionError" if openai else "ErrorAnswer")
    assert ("422" in operation["responses"]) is not openai


def contents(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Everything that is sent or answered: where it stands, its media type, and what is told of it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            told = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, part in told.items():
                for media_type, content in part.get("content", {}).items():
                    yield f"{method} {path} {name}", media_type, content


def test_every_route_shows_an_example_of_its_body_its_answer_and_every_error(document: Any) -> None:
    """Pictures speak for themselves."""
    shown = list(contents(document))
    assert len(shown) > 200
    assert [where for where, media_type, content in shown if media_type != "image/png" and "example" not in content] == []
    answered = {where for where, *_ in shown}
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method} {path} 200" in answered


def test_every_example_is_what_its_schema_says(document: Any) -> None:
    shown = [(where, content) for where, _, content in contents(document) if "example" in content]
    assert len(shown) > len(document["paths"])
    for where, content in shown:
        schema = content["schema"] | {"components": document["components"]}
        faults = jsonschema_rs.Draft202012Validator(schema).iter_errors(content["example"])
        assert [str(fault) for fault in faults] == [], where


def test_a_key_can_be_given_to_the_page(document: Any) -> None:
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{}, {"key": []}]


def test_every_error_is_shown_with_the_word_of_its_status(document: Any) -> None:
    kinds: list[type[RequestError]] = RequestError.__subclasses__()
    words = {kind.status: kind.error_type for kind in kinds}
    for where, _, content in contents(document):
        method, path, name = where.split()
        if name.isdecimal() and name != "200":
            if path.startswith("/v1/"):
                assert content["schema"]["$ref"].endswith("/CompletionError")
                told = content["example"]["error"]["code"]
                status = 422 if name == "400" else int(name)
                assert told in (words[status], "invalid_api_key", "rate_limit_exceeded", "model_not_found"), (method, path)
            else:
                assert content["schema"]["$ref"].endswith("/ErrorAnswer")
                assert content["example"]["error_type"] == words[int(name)], (method, path)


def test_the_document_is_the_same_every_time(document: Any, service: TestClient) -> None:
    assert service.get("/openapi.json").json() == document


def test_a_file_of_the_page_is_sent_again_only_when_it_has_changed(page: Response, service: TestClient) -> None:
    for link in Links(page.text).found:
        first = service.get(link)
        again = service.get(link, headers={"if-none-match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


@pytest.mark.parametrize("path", ["/docs/assets/../app.py", "/docs/assets/%2e%2e/__init__.py", "/docs/assets//etc/passwd"])
def test_no_file_beside_the_assets_is_served(path: str, service: TestClient) -> None:
    assert service.get(path).status_code == 404


def resolve(document: Any, schema: Any) -> Any:
    return document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
