"""service.choices: what is wanted of every model, in one process or in several that share a file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.choices import Choices
from service.settings import NEWEST, UNLOADED


def test_the_newest_is_wanted_of_a_model_of_which_nothing_was_said() -> None:
    choices = Choices({"a": 1, "b": UNLOADED})
    assert [choices.of(name) for name in "abc"] == [1, UNLOADED, NEWEST]
    choices.set("a", NEWEST)
    choices.set("c", 3)
    assert choices.pins == {"c": 3}
    assert not choices.refresh()


def test_the_table_that_it_was_made_of_stays_as_it_is() -> None:
    table = {"a": 1}
    Choices(table).set("a", 2)
    assert table == {"a": 1}


def test_what_one_process_is_told_the_others_find(tmp_path: Path) -> None:
    one, other = (Choices({"a": 1}, tmp_path / "choices.json") for _ in range(2))
    assert not other.refresh()
    assert not one.set("a", 2)
    assert not one.set("b", UNLOADED)
    assert not one.refresh()
    assert other.refresh()
    assert not other.refresh()
    assert (other.of("a"), other.of("b")) == (2, UNLOADED)
    one.set("a", 3)
    assert other.set("c", 1)  # and so learns of the other choice
    assert (other.of("a"), other.of("c")) == (3, 1)
    assert Choices({"a": 1}, tmp_path / "choices.json").of("a") == 3  # as a process that comes later finds it


def test_none_of_many_changes_at_the_same_time_is_lost(tmp_path: Path) -> None:
    parties = [Choices({}, tmp_path / "choices.json") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: parties[index].set(f"model-{index}", index + 1), range(8)))
    assert Choices({}, tmp_path / "choices.json").pins == {f"model-{index}": index + 1 for index in range(8)}


def test_where_the_others_cannot_be_told_nothing_changes(tmp_path: Path) -> None:
    choices = Choices({"a": 1}, tmp_path / "nothing" / "choices.json")
    with pytest.raises(OSError, match="No such file"):
        choices.set("a", 2)
    assert choices.of("a") == 1
