"""What may be typed, and what to type to make a model again: that holds no folder of whoever typed it."""

import importlib.util
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.samples import write_labelled
from training.errors import ConfigError
from training.folder import Plan
from training.options import TRACKERS, parser, plans_of, refuse_beside_resume, require_tracker
from training.preset import STARTERS

RUN = ["python", "-m", "training.run"]
CLASSIFIES = ["--preset", "korean-sentiment"]


def plan(*arguments: str) -> Plan:
    (only,) = plans_of(parser().parse_args(arguments))
    return only


def command(*arguments: str) -> list[str]:
    """What to type again, after the program."""
    words = shlex.split(plan(*arguments).command)
    assert words[:3] == RUN
    return words[3:]


# Plans


def test_without_a_preset_both_starters_are_planned_each_with_a_command_of_its_own() -> None:
    plans = plans_of(parser().parse_args(["--set", "fit.epochs=3"]))
    assert [one.preset for one in plans] == list(STARTERS)
    assert [one.config.fit.epochs for one in plans] == [3, 3]
    assert [one.command for one in plans] == [f"python -m training.run --preset {name} --set fit.epochs=3" for name in STARTERS]


@pytest.mark.parametrize("option", ["--data", "--name", "--unlabelled"])
def test_what_is_one_s_own_needs_a_preset(option: str) -> None:
    with pytest.raises(ConfigError, match="need --preset"):
        plans_of(parser().parse_args([option, "mine"]))


def test_what_was_typed_is_in_the_configuration() -> None:
    config = plan(
        *CLASSIFIES,
        *("--data", "a.csv", "--unlabelled", "b.txt", "--text-column", "no", "--label-column", "1e3", "--name", "mine"),
    ).config
    data = config.data
    assert (data.train, data.unlabelled, data.text_column, data.label_column) == ("a.csv", "b.txt", "no", "1e3")
    assert config.name == "mine"


def test_the_models_folder_is_kept_from_wherever_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan(*CLASSIFIES).models == str(tmp_path / "models")
    assert plan(*CLASSIFIES, "--models", "other/place").models == str(tmp_path / "other" / "place")


def test_unlabelled_texts_for_a_model_that_generates_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^data\.unlabelled: "):
        plan("--preset", "korean-next-word", "--data", "a.txt", "--unlabelled", "b.txt")


@pytest.mark.parametrize("arguments", [["--label-column", "label"], ["--set", "labels={'0': x}"]])
def test_a_label_for_a_model_that_generates_is_refused_by_name(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^data\.labels?(_column)?: is read only by a model that classifies") as refusal:
        plan("--preset", "korean-next-word", "--data", "a.csv", *arguments)
    assert len(str(refusal.value).splitlines()) == 1


# The command


def test_the_command_gives_the_same_configuration_but_for_folders() -> None:
    arguments = [*CLASSIFIES, "--data", "a b.csv", "--text-column", "it's", "--name", "mine", "--set", "labels={'0': x, '1': y}"]
    assert command(*arguments) == arguments
    assert plan(*command(*arguments)).config == plan(*arguments).config


folders = st.lists(st.sampled_from(["home", "Ann", "secret data", "홍길동", "it's"]), min_size=1, max_size=3).map("/".join)
places = ("--data", "--unlabelled", "--set data.valid=", "--set test=", "--set  unlabelled =", "--set data.train=")


@given(folders, st.booleans(), st.lists(st.sampled_from(places), min_size=1, unique=True))
def test_the_command_never_holds_a_folder(folder: str, absolute: bool, given_as: list[str]) -> None:
    path = f"{'/' if absolute else ''}{folder}/reviews.csv"
    arguments = [*CLASSIFIES, "--name", "mine"]
    for place in given_as:
        option, _, key = place.partition(" ")
        arguments += [option, f"{key}{path}"]
    words = command(*arguments)
    assert "/" not in "".join(words)
    assert not any(part in word for word in words for part in folder.split("/"))
    assert sum("reviews.csv" in word for word in words) == len(given_as)


@pytest.mark.parametrize("option", ["--models", "--runs"])
def test_where_it_is_written_to_is_no_part_of_the_command(option: str) -> None:
    assert command(*CLASSIFIES, option, "/home/ann/folder") == CLASSIFIES


@pytest.mark.parametrize("name", ["hub:owner/reviews", "hub:owner/reviews:train", "hub:reviews"])
def test_the_name_of_a_data_set_of_the_hub_stays_whole(name: str) -> None:
    assert command(*CLASSIFIES, "--data", name, "--unlabelled", name) == [*CLASSIFIES, "--data", name, "--unlabelled", name]


@pytest.mark.parametrize("split", ["", ":train"])
def test_a_data_set_that_is_a_folder_of_this_machine_loses_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    write_labelled(tmp_path / "ann" / "reviews" / "train.csv")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "ann" / "reviews", "ann/reviews", "./ann/reviews"):
        assert command(*CLASSIFIES, "--data", f"hub:{folder}{split}") == [*CLASSIFIES, "--data", f"hub:reviews{split}"]


# What does not go together


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "starter-sentiment"],
        ["--data", "a.csv"],
        ["--name", "mine"],
        ["--unlabelled", "a.txt"],
        ["--text-column", "text"],
        ["--label-column", "label"],
        ["--set", "fit.epochs=3"],
        ["--runs", "there"],
        ["--dry-run"],
    ],
)
def test_beside_resume_what_would_change_the_run_is_refused_by_name(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=rf"^{arguments[0]}: ") as refusal:
        refuse_beside_resume(parser().parse_args(["--resume", "runs/x", *arguments]))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["--publish", "always"], ["--models", "there"], ["--track", "mlflow"]])
def test_beside_resume_what_changes_nothing_of_the_run_may_be_typed(arguments: list[str]) -> None:
    refuse_beside_resume(parser().parse_args(["--resume", "runs/x", *arguments]))


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_refused_by_name(name: str) -> None:
    if importlib.util.find_spec(name):
        require_tracker(name)
        return
    with pytest.raises(ConfigError, match=rf"^--track {name}: is not installed") as refusal:
        require_tracker(name)
    assert len(str(refusal.value).splitlines()) == 1


def test_without_a_tracker_none_is_needed() -> None:
    require_tracker(None)
