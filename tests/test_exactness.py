"""An answer never depends on load: 64 mixed requests at once, over real sockets, are each answered byte for byte as alone."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from service.artifact import Cell
from service.http.app import create_app
from service.settings import Settings
from tests.builders import WORDS, Small, publish_small
from tests.service.http.ask import accepted, standing_still
from tests.service.process import Server, eventually, serving

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
CLIENTS = 64
KEY = SecretStr("the same for all of them")
PROMPTS = [
    "오늘 날씨가",
    "music",
    "the cat sat on a mat",
    "고래 whale 좋다",
    " ".join(WORDS * 3),
    "집 앞 공원에 " * 40,
    " ".join(WORDS * 3) + " 좋다 a mat",  # begins as another one does
]


class Question(NamedTuple):
    path: str
    body: Any


Alone = dict[Cell, list[tuple[Question, bytes]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For every cell a generator of one layer that never ends by itself, one of two that does, and classifiers."""
    folder = tmp_path_factory.mktemp("exactness")
    for cell in CELLS:
        for small in _generators(cell):
            publish_small(folder / "models", small, folder / "scratch")
        for small in _classifiers(cell):
            publish_small(folder / "models", small, folder / "scratch")
    return folder / "models"


def _generators(cell: Cell) -> tuple[Small, Small]:
    return Small(cell=cell, sentence_end=False), Small(cell=cell, layers=2, hidden=24, tables="int8")


def _classifiers(cell: Cell) -> tuple[Small, Small]:
    """One that reads words alone, and one with all that there is to read unknown ones too."""
    spelling = Small("classify", cell, bidirectional=True, pooling="attention", ngrams=4, tables="int8", hidden=33)
    return Small("classify", cell, layers=2, bidirectional=True, pooling="mean"), spelling


def _settings(models: Path, **changes: Any) -> Settings:
    return Settings(models=models, state_key=KEY, **{"threads": 1, "prefix_cache_bytes": 0, **changes})


def _ask(server: Server, question: Question) -> bytes:
    response = server.client.post(question.path, json=question.body)
    assert response.status_code == 200, response.text
    return bytes(response.content)


def _questions(server: Server, cell: Cell) -> list[Question]:
    """64 requests of every kind in turn; those that go on from a state get it from the server."""
    chance = random.Random(cell)
    names, classifiers = [small.name for small in _generators(cell)], [small.name for small in _classifiers(cell)]
    states = {name: json.loads(_ask(server, _question(name, "the cat", return_state=True)))["state"] for name in names}
    questions: list[Question] = []
    for index in range(CLIENTS):
        name, prompt = names[index % 2], PROMPTS[chance.randrange(len(PROMPTS))]
        words = chance.choice([1, 3, 20, 40])
        drawn: dict[str, Any] = {"max_new_tokens": words, "seed": index, "temperature": 1.4}
        kinds = [
            _question(name, prompt, max_new_tokens=words, details=True, top_n_tokens=3),
            _question(name, prompt, **drawn, top_p=0.9, details=True),
            _question(name, prompt, **drawn, repetition_penalty=1.3, frequency_penalty=0.3, return_state=True),
            _question(name, prompt, "/generate_stream", **drawn, details=True, top_n_tokens=2, stop=["music", "집 ", "다"]),
            _question(name, prompt, "/generate_stream", max_new_tokens=words, return_state=True),
            _question(name, prompt, **drawn, n=3, details=True),
            _question(name, [prompt, *PROMPTS[:3]], **drawn, n=2, best_of=4, typical_p=0.9),
            _question(name, prompt, max_new_tokens=0, details=True, return_state=True),
            _question(name, prompt, **drawn, details=True, decoder_input_details=True),
            _question(name, chance.choice(["", "music 좋다"]), state=states[name], **drawn, details=True, return_state=True),
            *(Question("/classify", {"inputs": f"{prompt} {_unheard(chance)}", "model": name}) for name in classifiers),
            *(_list_of_texts(chance, name) for name in classifiers),
        ]
        questions.append(kinds[index % len(kinds)])
    return questions


def _list_of_texts(chance: random.Random, model: str) -> Question:
    """Texts of all lengths, most with words that no model knows, in any order."""
    texts = [" ".join([prompt, *(_unheard(chance) for _ in range(chance.randrange(6)))]) for prompt in PROMPTS]
    inputs = chance.sample(texts, len(texts))
    return Question("/classify", {"inputs": inputs, "model": model, "parameters": {"function_to_apply": "none"}})


def _short_texts(chance: random.Random) -> list[str]:
    """So alike in length that they run together with those of others."""
    words = [*WORDS, *(_unheard(chance) for _ in range(len(WORDS)))]
    return [" ".join(chance.choices(words, k=chance.randint(1, 6))) for _ in range(8)]


def _rows_a_batch(server: Server, name: str) -> float:
    return server.metric("seqserve_batch_rows_sum", model=name) / server.metric("seqserve_batch_rows_count", model=name)


def _unheard(chance: random.Random) -> str:
    """A word of one letter or many, seldom the same one."""
    return "".join(chance.choices("고래상어들이었다whale!", k=chance.randint(1, 30)))


def _question(
    model: str, inputs: str | list[str], path: str = "/generate", state: str | None = None, **parameters: Any
) -> Question:
    body = {"inputs": inputs, "model": model, "parameters": parameters}
    return Question(path, body if state is None else body | {"state": state})


@pytest.fixture(scope="module")
def alone(models: Path) -> Alone:
    """The questions, each with its answer where nobody else asks, nothing is remembered and one thread computes."""
    with serving(create_app(_settings(models))) as server:
        return {cell: [(question, _ask(server, question)) for question in _questions(server, cell)] for cell in CELLS}


def _all_at_once(
    server: Server, questions: list[Question], order: random.Random, meanwhile: Callable[[], None]
) -> dict[int, bytes]:
    """Every client asks one question, in any order, as soon as all are there; meanwhile: called while they do."""
    together = Barrier(len(questions) + 1)

    def ask(index: int) -> tuple[int, bytes]:
        together.wait(30)
        return index, _ask(server, questions[index])

    with ThreadPoolExecutor(len(questions)) as clients:
        answers = clients.map(ask, order.sample(range(len(questions)), len(questions)))
        together.wait(30)
        meanwhile()
        return dict(answers)


def _parts(questions: list[Question], model: str) -> int:
    """Generations that the questions ask a model for."""
    count = 0
    for _, body in questions:
        if body["model"] == model:
            parameters = body.get("parameters", {})
            several = max(parameters.get("n", 1), parameters.get("best_of", 1))
            count += several * (len(body["inputs"]) if isinstance(body["inputs"], list) else 1)
    return count


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cache", [0, 64_000_000], ids=["no cache", "cache"])
@pytest.mark.parametrize("cell", CELLS)
def test_64_mixed_requests_at_once_are_answered_byte_for_byte_as_alone(
    cell: Cell, cache: int, threads: int, models: Path, alone: Alone
) -> None:
    questions = [question for question, _ in alone[cell]]
    with serving(create_app(_settings(models, prefix_cache_bytes=cache, threads=threads))) as server:
        answers = _all_at_once(server, questions, random.Random(f"{cell} {cache} {threads}"), lambda: None)
        _check_nothing_is_left(server, cell)
        if cache:
            names = [small.name for small in _generators(cell)]
            assert sum(server.metric("seqserve_prefix_cache_words_total", model=name) for name in names) > 0, (
                "nothing was remembered"
            )
    _compare(answers, alone[cell])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cache", [0, 64_000_000], ids=["no cache", "cache"])
@pytest.mark.parametrize("cell", CELLS)
def test_where_rows_are_few_and_taken_in_turns_they_are_answered_byte_for_byte_as_alone(
    cell: Cell, cache: int, threads: int, models: Path, alone: Alone
) -> None:
    """Nothing is written before all have come: so they wait for one another."""
    questions, names = [question for question, _ in alone[cell]], [small.name for small in _generators(cell)]
    app = create_app(_settings(models, prefix_cache_bytes=cache, threads=threads, max_rows=4))
    with serving(app) as server, ExitStack() as still:
        for name in names:
            still.enter_context(standing_still(app, name))

        def all_have_come() -> bool:
            return server.client.get("/livez").is_success and all(
                accepted(app, name) == 1 + _parts(questions, name) for name in names
            )

        def go_on() -> None:
            eventually(all_have_come)
            still.close()

        answers = _all_at_once(server, questions, random.Random(f"{cell} {cache} {threads}"), go_on)
        for name in names:
            assert server.metric("seqserve_parked_total", model=name) > 0, "no row was taken from anyone"
        _check_nothing_is_left(server, cell)
    _compare(answers, alone[cell])


def _check_nothing_is_left(server: Server, cell: Cell) -> None:
    for small in (*_generators(cell), *_classifiers(cell)):
        eventually(lambda name=small.name: server.metric("seqserve_rows_in_use", model=name) == 0)  # type: ignore[misc]
        assert server.metric("seqserve_waiting", model=small.name) == 0


def _compare(answers: dict[int, bytes], alone: list[tuple[Question, bytes]]) -> None:
    assert len(answers) == CLIENTS
    for index, (question, expected) in enumerate(alone):
        assert answers[index] == expected, f"{question} was answered differently among others"


@pytest.mark.parametrize("cell", CELLS)
def test_a_prompt_that_is_remembered_is_answered_byte_for_byte_as_one_that_is_read(cell: Cell, models: Path, alone: Alone) -> None:
    with serving(create_app(_settings(models, prefix_cache_bytes=64_000_000))) as server:
        for _ in range(2):
            for question, expected in alone[cell]:
                assert _ask(server, question) == expected, f"{question} was answered differently from memory"
        assert server.metric("seqserve_prefix_cache_lookups_total", model=_generators(cell)[0].name, result="hit") > 10


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_texts_with_unknown_words_are_classified_together_byte_for_byte_as_alone(cell: Cell, threads: int, models: Path) -> None:
    """All of one model, so that they share its batches: their unknown words stand in one list of rows."""
    chance, name = random.Random(cell), _classifiers(cell)[-1].name
    questions = [Question("/classify", {"inputs": _short_texts(chance), "model": name}) for _ in range(CLIENTS)]
    with serving(create_app(_settings(models))) as server:
        alone = [(question, _ask(server, question)) for question in questions]
        rows_alone = _rows_a_batch(server, name)
    with serving(create_app(_settings(models, threads=threads))) as server:
        answers = _all_at_once(server, questions, random.Random(f"{cell} {threads}"), lambda: None)
        assert _rows_a_batch(server, name) > rows_alone, "no texts of different requests ran together"
    assert len({answer for _, answer in alone}) == CLIENTS
    _compare(answers, alone)


def test_the_questions_are_of_every_kind(alone: Alone) -> None:
    """What is compared is worth comparing: long and short answers, all of them different, ends of all three kinds."""
    for cell in CELLS:
        questions = [question for question, _ in alone[cell]]
        assert len(questions) == CLIENTS
        assert {question.path for question in questions} == {"/generate", "/generate_stream", "/classify"}
        told = b"".join(content for _, content in alone[cell])
        for sign in (b'"length"', b'"eos_token"', b'"stop_sequence"', b'"perplexity"', b'"state"', b'"prefill"', b"data:"):
            assert sign in told, sign
        words = [content.count(b'"special"') for _, content in alone[cell]]
        assert max(words) >= 40
        assert {question.body["model"] for question in questions} == {s.name for s in (*_generators(cell), *_classifiers(cell))}
