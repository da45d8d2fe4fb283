"""Texts as ids come back as they were written, from files as from memory, and a full disk is told in one line."""

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.test_rows import refusal
from training.samples import Samples, SamplesWriter

Texts = list[tuple[list[int], int]]

texts = st.lists(st.tuples(st.lists(st.integers(0, 2**31 - 1), max_size=9), st.integers(0, 5)), max_size=30)


def written(folder: Path, rows: Texts, grams: list[list[int]] | None = None, last: int | None = None) -> Samples:
    writer = SamplesWriter(folder, "split", slots=len(grams[0]) if grams else 0)
    for ids, target in rows:
        writer.add(ids, target)
    for row, one in enumerate(grams or []):
        assert writer.add_unknown(one) == row
    return writer.close(last)


def both(folder: Path, rows: Texts) -> list[Samples]:
    return [Samples.of(rows), written(folder, rows)]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_what_was_written_is_read_from_files_as_from_memory(tmp_path: Path, rows: Texts) -> None:
    for samples in both(tmp_path, rows):
        assert len(samples) == len(rows)
        assert [samples.ids(row).tolist() for row in range(len(rows))] == [ids for ids, _ in rows]
        assert samples.targets.tolist() == [target for _, target in rows]
        assert samples.lengths.tolist() == [len(ids) for ids, _ in rows]
        assert samples.flat.tolist() == [word for ids, _ in rows for word in ids]
        assert samples.words == len(samples.flat)
        assert {part.dtype for part in (samples.targets, samples.lengths, samples.flat)} == {np.dtype(np.int32)}


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts.filter(len), st.data())
def test_any_texts_are_read_in_the_order_they_are_asked_for(tmp_path: Path, rows: Texts, data: st.DataObject) -> None:
    wanted = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12)), np.int64)
    for samples in both(tmp_path, rows):
        starts, lengths = samples.spans(wanted)
        assert lengths.tolist() == [len(rows[row][0]) for row in wanted]
        assert samples.gather(starts, lengths).tolist() == [word for row in wanted for word in rows[row][0]]
        assert samples.targets_of(wanted).tolist() == [rows[row][1] for row in wanted]


def test_an_id_that_ends_all_texts_together_is_part_of_none(tmp_path: Path) -> None:
    samples = written(tmp_path, [([2, 7], 0), ([2, 8, 9], 0)], last=2)
    assert samples.flat.tolist() == [2, 7, 2, 8, 9, 2]
    assert [samples.ids(row).tolist() for row in range(2)] == [[2, 7], [2, 8, 9]]
    assert written(tmp_path, [], last=2).words == 0


def test_the_runs_of_unknown_words_are_those_of_their_rows(tmp_path: Path) -> None:
    grams = [[1, 2, 0], [3, 4, 5], [6, 0, 0]]
    for samples in (written(tmp_path, [([1], 0)], grams), Samples.of([([1], 0)], np.array(grams, np.int32))):
        assert samples.tells_unknown_apart
        assert samples.grams(np.array([2, 0, 2])).tolist() == [grams[2], grams[0], grams[2]]
        assert samples.grams(np.empty(0, np.int64)).shape == (0, 3)
    assert not Samples.of([([1], 0)]).tells_unknown_apart


def test_more_than_is_held_at_once_is_written_whole(tmp_path: Path) -> None:
    rows = [(list(range(number % 50)), number % 3) for number in range(20_000)]
    samples = written(tmp_path, rows)
    assert samples.words == sum(len(ids) for ids, _ in rows)
    for row in (0, 1, 9_999, 19_999):
        assert samples.ids(row).tolist() == rows[row][0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("part", ["ids", "ends", "targets"])
def test_a_full_disk_is_told_with_the_folder_and_what_to_do(tmp_path: Path, part: str) -> None:
    (tmp_path / f"split.{part}").symlink_to("/dev/full")
    rows = [([1, 2, 3], 0)] * 100_000
    for some in (rows, rows[:1]):
        message = refusal(lambda some=some: written(tmp_path, some))  # type: ignore[misc]
        assert message.startswith(f"{tmp_path}: ")
        assert "No space left on device" in message
        assert "free some" in message


def test_a_folder_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    assert refusal(lambda: SamplesWriter(tmp_path / "none", "split")).startswith(f"{tmp_path / 'none'}: ")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files cannot be counted")
def test_samples_that_nobody_needs_leave_no_file_open(tmp_path: Path) -> None:
    def open_files() -> int:
        gc.collect()
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_files()
    samples = written(tmp_path, [([1], 0)], [[1]])
    assert open_files() > before
    del samples
    assert open_files() == before
