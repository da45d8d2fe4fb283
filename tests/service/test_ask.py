"""`python -m service ask`: the words and labels that the service would answer with."""

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.ask import ask
from service.errors import InvalidRequest, NotFound, TooLarge
from service.settings import Settings
from tests.service.http.ask import classify, generate
from tests.service.process import command

TEXT = "오늘 영화 정말"


def test_it_says_what_the_service_answers(settings: Settings, client: TestClient) -> None:
    continued, labelled = ask(settings, TEXT, None, 7)
    generated = generate(client, TEXT, max_new_tokens=7)["generated_text"]
    assert continued == f"{settings.generate_model}/1: {TEXT} {generated}"
    scores = ", ".join(f"{one['label']} {one['score']:.1%}" for one in classify(client, TEXT))
    assert labelled == f"{settings.classify_model}/1: {scores}"


def test_a_named_model_answers_alone(settings: Settings) -> None:
    (line,) = ask(settings, TEXT, settings.classify_model, 7)
    assert line.startswith(f"{settings.classify_model}/1: ")


def test_a_default_that_is_not_there_is_left_out(settings: Settings) -> None:
    (line,) = ask(settings.model_copy(update={"generate_model": "nothing"}), TEXT, None, 7)
    assert line.startswith(f"{settings.classify_model}/1: ")


def test_what_is_no_good_is_said_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(NotFound, match="there is no model nothing; there are "):
        list(ask(settings, TEXT, "nothing", 7))
    with pytest.raises(InvalidRequest, match="inputs: has no word that"):
        list(ask(settings, " ", None, 7))
    with pytest.raises(TooLarge, match="characters are more than"):
        list(ask(settings, "a" * 20_001, None, 7))


def test_a_text_in_another_encoding_is_refused_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="the text is not UTF-8"):
        list(ask(settings, "\udcff\udcc0", None, 7))


def test_the_command_prints_a_line_a_model_and_nothing_else(settings: Settings) -> None:
    given = json.loads(settings.model_dump_json(include={"models", "generate_model", "classify_model"}))
    ended = command("ask", TEXT, "--words", "3", **given)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(rf"{settings.generate_model}/1: {TEXT}.*\n{settings.classify_model}/1: .*%.*\n", ended.stdout)


def test_the_command_ends_with_2_and_a_line_for_what_is_no_good(settings: Settings) -> None:
    for arguments in ((TEXT, "--model", "nothing"), ("",)):
        ended = command("ask", *arguments, models=settings.models)
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: ")
        assert (ended.stderr.count("\n"), ended.stdout) == (1, "")
    assert "'0' is no number from 1 to 9999" in command("ask", TEXT, "--words", "0").stderr


def test_the_folder_may_be_any(tmp_path: Path) -> None:
    ended = command("ask", TEXT, models=tmp_path)
    assert ended.returncode == 2
    assert "there are none" in ended.stderr
