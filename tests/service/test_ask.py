"""`python -m service ask`: the words and labels that the service would answer with."""

import io
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.ask import ask, read_text
from service.errors import InvalidRequest, NotFound, TooLarge
from service.settings import Settings
from tests.conftest import ROOT
from tests.service.damage import copy_version, edit_manifest
from tests.service.http.ask import classify, generate
from tests.service.process import START, command, environment

TEXT = "오늘 영화 정말"


def test_it_says_what_the_service_answers(settings: Settings, client: TestClient) -> None:
    continued, labelled = ask(settings, TEXT, None, 7)
    generated = generate(client, TEXT, max_new_tokens=7)["generated_text"]
    assert continued.text == f"{settings.generate_model}/1: {TEXT} {generated}"
    scores = ", ".join(f"{one['label']} {one['score']:.1%}" for one in classify(client, TEXT))
    assert labelled.text == f"{settings.classify_model}/1: {scores}"


def test_a_named_model_answers_alone(settings: Settings) -> None:
    (answer,) = ask(settings, TEXT, settings.classify_model, 7)
    assert answer.text.startswith(f"{settings.classify_model}/1: ")


def test_a_default_that_is_not_there_is_left_out(settings: Settings) -> None:
    (answer,) = ask(settings.model_copy(update={"generate_model": "nothing"}), TEXT, None, 7)
    assert answer.text.startswith(f"{settings.classify_model}/1: ")


def test_what_is_no_good_is_said_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(NotFound, match="there is no model nothing; there are "):
        list(ask(settings, TEXT, "nothing", 7))
    with pytest.raises(InvalidRequest, match="^the text is empty$"):
        list(ask(settings, " ", None, 7))
    with pytest.raises(TooLarge, match="^the text: 20001 characters are more than 20000$"):
        list(ask(settings, "a" * 20_001, None, 7))
    for answer in ask(settings, "▁", None, 7):
        assert not answer.is_good
        assert re.fullmatch(r"(\S+)/1: the text: has no word that \1 reads", answer.text)


@pytest.fixture
def terse(settings: Settings, tmp_path: Path) -> Settings:
    """Settings by which the default model that continues reads two words at the most."""
    folder = copy_version(settings.models, settings.generate_model, tmp_path)
    edit_manifest(folder, lambda manifest: manifest["limits"].update(max_input_words=2))
    copy_version(settings.models, settings.classify_model, tmp_path)
    return settings.model_copy(update={"models": tmp_path})


def test_a_text_that_one_model_does_not_take_is_answered_by_the_other(terse: Settings) -> None:
    refused, labelled = ask(terse, TEXT, None, 7)
    assert refused == (f"{terse.generate_model}/1: the text: 3 words are more than the 2 of {terse.generate_model}", False)
    assert labelled.is_good


def test_the_command_tells_on_standard_error_which_model_does_not_answer_and_ends_with_2_where_none_does(terse: Settings) -> None:
    given = json.loads(terse.model_dump_json(include={"models", "generate_model", "classify_model"}))
    ended = command("ask", TEXT, **given)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"{terse.classify_model}/1: ")
    assert ended.stderr.startswith(f"error: {terse.generate_model}/1: the text: 3 words are more than the 2 of ")
    ended = command("ask", TEXT, "--model", terse.generate_model, **given)
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize("content", [TEXT.encode(), f"{TEXT}\n".encode(), f"{TEXT}\r\n".encode(), b"\xef\xbb\xbf" + TEXT.encode()])
def test_a_text_of_standard_input_is_read_without_the_end_of_its_line(content: bytes, settings: Settings) -> None:
    assert read_text(io.BytesIO(content), settings) == TEXT


def test_a_text_of_standard_input_may_be_anything_and_is_refused_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="the text is not UTF-8"):
        list(ask(settings, read_text(io.BytesIO(TEXT.encode("euc-kr")), settings), None, 7))
    with Path("/dev/zero").open("rb") as endless, pytest.raises(TooLarge, match="characters are more than 20000"):
        list(ask(settings, read_text(endless, settings), None, 7))
    cut = read_text(io.BytesIO("가".encode() * 40_000), settings)  # in the middle of a letter
    with pytest.raises(TooLarge, match="characters are more than 20000"):
        list(ask(settings, cut, None, 7))


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_command_reads_the_text_from_a_pipe_where_it_is_given_none(arguments: list[str], settings: Settings) -> None:
    given = {name: getattr(settings, name) for name in ("models", "generate_model", "classify_model")}
    piped = subprocess.run(
        [*START, "ask", *arguments], cwd=ROOT, env=environment(**given), input=f"{TEXT}\n".encode(), capture_output=True, timeout=60
    )
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout.decode() == command("ask", TEXT, **given).stdout


def test_the_command_does_not_wait_at_a_terminal_for_a_text_that_nobody_was_asked_for(settings: Settings) -> None:
    keyboard, terminal = os.openpty()
    ended = subprocess.run([*START, "ask"], cwd=ROOT, env=environment(), stdin=terminal, capture_output=True, text=True, timeout=60)
    os.close(keyboard)
    os.close(terminal)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: there is no text: write one behind ask, or pipe one into it\n"


def test_the_command_is_interrupted_without_a_word() -> None:
    with subprocess.Popen(
        [*START, "ask"], cwd=ROOT, env=environment(max_input_characters=10_000_000), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as popen:
        assert popen.stdin is not None
        popen.stdin.write(b"a" * 1_000_000)  # more than a pipe holds: it is being read
        popen.stdin.flush()
        popen.send_signal(signal.SIGINT)
        assert popen.wait(60) == -signal.SIGINT
        assert popen.stderr is not None
        assert popen.stderr.read() == b""


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
