"""service.http.compression: large answers packed for who asks for it, and nothing else."""

import gzip
import http.client
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.compression import SMALLEST, takes_gzip
from tests.service.http.ask import PROMPT
from tests.service.process import Process

MANY = {"inputs": [PROMPT] * 250, "model": "bilstm1-classify"}
GZIP = {"accept-encoding": "gzip"}


def raw(server: Process, method: str, path: str, body: Any = None, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """What really comes, which other clients unpack at once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", True),
        ("deflate, gzip ; q=0.001", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("gzipped, x-gzip", False),
        ("", False),
    ],
)
def test_gzip_is_taken_by_who_says_so(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted.encode()) is takes
    assert not takes_gzip(None)


def test_a_large_answer_is_packed_for_who_asks_for_it_and_is_the_same(server: Process) -> None:
    plain, whole = raw(server, "POST", "/classify", MANY)
    packed, content = raw(server, "POST", "/classify", MANY, accept_encoding="gzip")
    assert plain.headers["content-length"] == str(len(whole))
    assert len(whole) > SMALLEST
    assert plain.headers["content-encoding"] is None
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == whole
    assert len(content) < len(whole) / 5
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert packed.headers["x-model"] == "bilstm1-classify/1"


def test_a_small_answer_is_never_packed(service: TestClient) -> None:
    for path in ("/models", "/info", "/livez"):
        response = service.get(path, headers=GZIP)
        assert "content-encoding" not in response.headers
        assert "vary" not in response.headers
    assert "content-encoding" not in service.post("/classify", json={"inputs": PROMPT}, headers=GZIP).headers


def test_a_stream_is_never_packed(service: TestClient) -> None:
    """Its words would wait for one another."""
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 400}}
    response = service.post("/generate_stream", json=body, headers=GZIP)
    assert len(response.content) > SMALLEST
    assert "content-encoding" not in response.headers


FILES = ["/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css", "/openapi.json"]


@pytest.mark.parametrize("path", FILES)
def test_a_large_file_is_packed_whole(path: str, server: Process) -> None:
    _, whole = raw(server, "GET", path)
    packed, content = raw(server, "GET", path, accept_encoding="gzip")
    assert gzip.decompress(content) == whole
    assert packed.headers["content-encoding"] == "gzip"


def test_a_packed_file_has_a_weak_tag_by_which_it_is_known(server: Process) -> None:
    packed, _ = raw(server, "GET", FILES[0], accept_encoding="gzip")
    tag = packed.headers["etag"]
    assert tag.startswith('W/"')
    again, content = raw(server, "GET", FILES[0], accept_encoding="gzip", if_none_match=tag)
    assert (again.status, content) == (304, b"")


def test_what_is_packed_already_and_parts_of_files_go_as_they_are(server: Process) -> None:
    part, content = raw(server, "GET", FILES[0], accept_encoding="gzip", range="bytes=0-19999")
    assert (part.status, len(content), part.headers["content-encoding"]) == (206, 20_000, None)


def test_metrics_are_packed_for_prometheus(server: Process) -> None:
    packed, content = raw(server, "GET", "/metrics", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert b"seqserve_requests_total" in gzip.decompress(content)


def test_a_body_that_is_packed_is_refused_by_its_header(service: TestClient) -> None:
    for path in ("/generate", "/classify", "/", "/v2/models/gru1-generate/infer"):
        content = gzip.compress(json.dumps({"inputs": PROMPT}).encode())
        response = service.post(path, content=content, headers={"content-encoding": "gzip"})
        assert response.json() == {
            "error": "content-encoding: a body is read as it is; send it without",
            "error_type": "validation",
        }
        assert response.status_code == 422
