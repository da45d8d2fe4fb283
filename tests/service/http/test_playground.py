"""service.http.playground: a page that asks no other host for anything, runs nothing but its own files, and is kept by its tag."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.http.app import create_app
from service.http.playground import FILES, PAGE, read_assets
from service.settings import Settings
from tests.service.http.ask import PROMPT, refusal
from tests.service.http.test_keys import KEY, bearer

ASSETS = {name: asset.content.decode() for name, asset in read_assets().items()}
PATHS = ["/", *(FILES + name for name in sorted(ASSETS))]
MOST_LINES = 250


class Page(HTMLParser):
    """What stands in a page: everything it fetches, the ids of its elements, what they are called and refer to, inline code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.referred: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.fetched += [given[name] for name in ("src", "href") if name in given and tag in ("script", "link", "img")]
        self.ids += [given["id"]] if "id" in given else []
        self.texts += [given[name] for name in ("data-text", "data-label", "data-placeholder") if name in given]
        for name in ("for", "aria-controls", "aria-labelledby", "aria-describedby", "data-fill"):
            self.referred += given.get(name, "").split()
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(ASSETS[PAGE])


def spoken(language: str) -> dict[str, str]:
    """The texts of one language, which stand in its file a line each."""
    return dict(re.findall(r'^  (\w+): "(.*)",$', ASSETS[f"{language}.js"], re.MULTILINE))


# ------------------------------------------------------------------------------------------------------------ how it is served


@pytest.mark.parametrize("path", PATHS)
def test_every_file_comes_with_headers_that_keep_it_to_itself(path: str, service: TestClient) -> None:
    headers = service.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob:",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("path", PATHS)
def test_a_file_is_sent_again_only_when_it_has_changed(path: str, service: TestClient) -> None:
    first = service.get(path)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = service.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    for unknown in ('"other"', tag.strip('"'), ""):
        assert service.get(path, headers={"if-none-match": unknown}).content == first.content


def test_every_file_has_a_tag_of_its_own_and_the_same_in_every_process(service: TestClient) -> None:
    tags = {path: service.get(path).headers["etag"] for path in PATHS}
    assert len({*tags.values()}) == len(PATHS) - 1
    assert tags["/"] == tags[FILES + PAGE]
    assert {FILES + name: asset.tag for name, asset in read_assets().items()} == {path: tags[path] for path in PATHS[1:]}


def test_files_are_sent_as_what_they_are(service: TestClient) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for path in PATHS[1:]:
        assert service.get(path).headers["content-type"].split(";")[0] == kinds[path.rpartition(".")[2]]


def test_a_look_at_the_headers_alone_gets_no_body(service: TestClient) -> None:
    head = service.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == service.get("/").headers["etag"]


@pytest.mark.parametrize("name", ["nothing.js", "../playground.py", "%2e%2e/app.py", "", "/etc/passwd", "__init__.py"])
def test_no_file_beside_the_pages_own_is_served(name: str, service: TestClient) -> None:
    assert service.get(FILES + name).status_code == 404


@pytest.fixture(scope="module")
def without(service_settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(service_settings.model_copy(update={"playground": False}))) as client:
        yield client


@pytest.mark.parametrize("path", PATHS[1:])
def test_switched_off_there_is_no_file_of_it(path: str, without: TestClient) -> None:
    refusal(without.get(path), 404, "not_found")


def test_switched_off_there_is_no_page_where_texts_may_be_sent_to(without: TestClient) -> None:
    assert refusal(without.get("/"), 405, "method_not_allowed") == "/ takes POST, not GET"


def test_switched_off_everything_else_is_there(without: TestClient, service: TestClient) -> None:
    for path in ("/docs", "/models", "/readyz"):
        assert without.get(path).status_code == 200
    assert without.post("/generate", json={"inputs": PROMPT}).status_code == 200
    assert without.post("/", json={"inputs": PROMPT}).status_code == service.post("/", json={"inputs": PROMPT}).status_code == 200


@pytest.fixture(scope="module")
def guarded(service_settings: Settings) -> Iterator[TestClient]:
    keys = {"api_keys": KEY}
    with TestClient(create_app(Settings.model_validate(service_settings.model_dump(exclude_unset=True) | keys))) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_the_page_that_asks_for_a_key_needs_none(path: str, guarded: TestClient) -> None:
    assert guarded.get(path).status_code == 200
    assert guarded.head(path).status_code == 200


def test_what_the_page_asks_for_needs_a_key_all_the_same(guarded: TestClient) -> None:
    def asked(**headers: str) -> list[Response]:
        reads = [guarded.get(path, headers=headers) for path in ("/models", "/info")]
        return [*reads, *(guarded.post(path, json={"inputs": PROMPT}, headers=headers) for path in ("/generate", "/classify", "/"))]

    assert {answer.status_code for answer in asked()} == {401}
    assert {answer.status_code for answer in asked(**bearer(KEY))} == {200}


# ---------------------------------------------------------------------------------------------------------- what it is made of


def test_everything_that_the_page_fetches_is_a_file_of_its_own(page: Page) -> None:
    assert len(page.fetched) >= 5
    assert {fetched.removeprefix(FILES[1:]) for fetched in page.fetched} <= ASSETS.keys()


def test_every_module_is_there_and_none_is_left_over(page: Page) -> None:
    """From the page along all imports every file is reached."""
    reached, new = {PAGE}, {fetched.removeprefix(FILES[1:]) for fetched in page.fetched}
    while new:
        reached |= new
        new = {name for module in new for name in re.findall(r'from "\./([\w.]+)"', ASSETS[module])} - reached
    assert reached == ASSETS.keys()


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_no_file_names_another_host(name: str) -> None:
    names = "http://www.w3.org/2000/svg"  # no address: how SVG is told from other XML
    assert re.findall(r"\b(?:https?|wss?):|[\"'(]//", ASSETS[name].replace(names, "")) == []


def test_nothing_is_written_into_the_page_that_its_policy_would_not_run(page: Page) -> None:
    assert page.inline == []
    for name, text in ASSETS.items():
        if name.endswith(".js"):
            assert re.findall(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|cssText", text) == []


def test_what_elements_refer_to_is_there(page: Page) -> None:
    assert len(page.ids) == len({*page.ids})
    assert {*page.referred} <= {*page.ids}


def test_what_modules_look_for_is_there(page: Page) -> None:
    sought = {found for text in ASSETS.values() for found in re.findall(r'byId\("([\w-]+)"\)', text)}
    assert len(sought) > 30
    assert sought <= {*page.ids}


def test_both_languages_say_the_same_and_nothing_is_left_unsaid(page: Page) -> None:
    korean, english = spoken("korean"), spoken("english")
    assert korean.keys() == english.keys()
    for name in korean:
        assert sorted(re.findall(r"\{\w+\}", korean[name])) == sorted(re.findall(r"\{\w+\}", english[name])), name
    code = "\n".join(text for name, text in ASSETS.items() if name.endswith(".js") and name not in ("korean.js", "english.js"))
    said = {*page.texts, *re.findall(r'"(\w+)"', code)}
    assert {*page.texts, *re.findall(r'say\("(\w+)"', code)} <= korean.keys()
    assert korean.keys() - said == set()


def test_every_korean_text_is_korean() -> None:
    korean, english = spoken("korean"), spoken("english")
    same = {name for name in korean if korean[name] == english[name]}
    assert {name for name in same if not re.match(r"(write|review)Example|linesPlaceholder|progressed", name)} == set()


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_no_file_is_longer_than_a_file_of_this_house(name: str) -> None:
    assert ASSETS[name].count("\n") <= MOST_LINES
