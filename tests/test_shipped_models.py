"""The models in models/: whole, small, good enough for the README's examples, and served as the README says."""

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import artifact
from service.http.app import create_app
from service.inference.runtime import Runtime
from service.settings import Settings
from tests.conftest import ROOT
from tests.service.http.ask import generate, stream, written

MODELS = ROOT / "models"
SHIPPED = {
    "starter-next-word": "generate",
    "korean-next-word": "generate",
    "korean-sentiment": "classify",
    "english-spam": "classify",
}
MAX_BYTES = 16_000_000


def newest(name: str) -> Path:
    return {found: folders[0] for found, folders in artifact.versions(MODELS)}[name]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(models=MODELS))) as client:
        yield client


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_whole_and_says_how_it_was_made(name: str) -> None:
    loaded = artifact.load(newest(name))
    Runtime(loaded)
    manifest = loaded.manifest
    assert manifest.task == SHIPPED[name]
    assert manifest.training.preset == name
    assert manifest.training.source
    assert {artifact.CARD, artifact.CURVES} <= manifest.files.keys()
    if name != "starter-next-word":
        assert manifest.scores[0].split == "test"
    assert manifest.scores[0].baselines


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_at_most_16_megabytes(name: str) -> None:
    assert sum(file.stat().st_size for file in newest(name).iterdir()) <= MAX_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_holds_the_manifests_scores_and_names_nobodys_folders(name: str) -> None:
    folder = newest(name)
    card = (folder / artifact.CARD).read_text(encoding="utf-8")
    manifest = artifact.load(folder).manifest
    assert all(f"| {score.metric} | {score.split} | {score.value:g} |" in card for score in manifest.scores)
    for text in (card, manifest.training.command):
        assert not re.search(r"(^|[\s='`])(\.\.)?/\w+/", text)


def test_every_shipped_model_serves_and_none_is_refused(client: TestClient) -> None:
    answer = client.get("/models").json()
    assert answer["refused"] == []
    assert SHIPPED.items() <= {model["name"]: model["task"] for model in answer["models"]}.items()


def test_the_defaults_are_the_korean_models(client: TestClient) -> None:
    assert client.post("/generate", json={"inputs": "영화"}).headers["x-model"].startswith("korean-next-word/")
    assert client.post("/classify", json={"inputs": "영화"}).headers["x-model"].startswith("korean-sentiment/")


@pytest.mark.parametrize(
    ("text", "label"), [("정말 재미있고 감동적인 영화", "positive"), ("시간이 아까운 최악의 영화", "negative")]
)
def test_the_readmes_reviews_are_told_apart(client: TestClient, text: str, label: str) -> None:
    best = client.post("/classify", json={"inputs": text}).json()[0]
    assert best["label"] == label
    assert best["score"] > 0.8


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Congratulations! You have won a FREE prize. Text WIN to 80082 to claim now", "spam"),
        ("Are we still meeting for lunch?", "ham"),
    ],
)
def test_spam_is_told_from_ham(client: TestClient, text: str, label: str) -> None:
    best = client.post("/classify", json={"inputs": text, "model": "english-spam"}).json()[0]
    assert best["label"] == label
    assert best["score"] > 0.8


def test_the_korean_model_writes_known_korean_words(client: TestClient) -> None:
    parameters = {"max_new_tokens": 12, "details": True}
    details = client.post("/generate", json={"inputs": "이 영화는 정말", "parameters": parameters}).json()["details"]
    words = "".join(token["text"] for token in details["tokens"] if not token["special"])
    assert any("가" <= letter <= "힣" for letter in words)
    assert "<unk>" not in words


@pytest.mark.parametrize("prompt", ["이 영화는 정말", "배우들의 연기가", "고래"])
def test_the_korean_model_streams_what_it_writes_at_once_and_goes_on_from_its_state(client: TestClient, prompt: str) -> None:
    options: dict[str, Any] = {"seed": 3, "top_p": 0.9}
    whole = generate(client, prompt, max_new_tokens=24, **options)["generated_text"]
    assert written(stream(client, prompt, max_new_tokens=24, **options)) == whole
    first = generate(client, prompt, max_new_tokens=6, return_state=True, details=True, **options)
    if first["details"]["finish_reason"] == "length":
        rest = generate(client, "", state=first["state"], max_new_tokens=18, top_p=0.9)
        assert first["generated_text"] + rest["generated_text"] == whole


@pytest.mark.parametrize(
    ("said", "shuffled"),
    [("이 영화는 정말 재미있다", "재미있다 정말 이 영화는"), ("정말 재미있고 감동적인 영화", "영화 재미있고 정말 감동적인")],
)
def test_the_korean_model_tells_a_sentence_from_its_words_in_another_order(client: TestClient, said: str, shuffled: str) -> None:
    def perplexity(text: str) -> float:
        value: float = generate(client, text, max_new_tokens=0, details=True)["details"]["perplexity"]
        return value

    assert perplexity(said) < perplexity(shuffled)


def test_eight_clients_at_once_get_what_they_get_alone_byte_for_byte(client: TestClient) -> None:
    chance = random.Random(1)
    words = "이 영화는 정말 재미있고 감동적인 최악의 시간이 아까운 배우 연기 사랑 오늘 집 free prize call".split()
    requests: list[tuple[str, dict[str, object]]] = []
    for number in range(64):
        text = " ".join(chance.choices(words, k=chance.randint(1, 12)))
        if number % 3 == 0:
            requests.append(("/classify", {"inputs": text}))
        else:
            parameters: dict[str, object] = {"max_new_tokens": chance.randint(1, 16), "details": True, "top_n_tokens": 2}
            if number % 3 == 1:
                parameters |= {"do_sample": True, "seed": number, "top_p": 0.9}
            requests.append(("/generate", {"inputs": text, "parameters": parameters}))

    def ask(request: tuple[str, dict[str, object]]) -> bytes:
        answer = client.post(request[0], content=json.dumps(request[1]))
        assert answer.status_code == 200
        return answer.content

    alone = [ask(request) for request in requests]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, requests)) == alone
