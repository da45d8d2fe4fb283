"""Batches that hold every sample once, in an order that a seed makes and a start resumes; lanes that are one text side by side."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import batches as module
from training.batches import IGNORED, Batch, batch_count, batches, lane_count, lanes
from training.samples import Samples

VOCABULARY = 10


class Sample(NamedTuple):
    ids: list[int]
    target: int


samples = st.lists(
    st.tuples(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 3)).map(lambda pair: Sample(*pair)),
    min_size=1,
    max_size=80,
)
seeds = st.none() | st.integers(0, 2**31)


def drawn(
    rows: list[Sample] | Samples, size: int, seed: int | None = None, generates: bool = False, padding: int = 0, start: int = 0
) -> list[Batch]:
    held = rows if isinstance(rows, Samples) else Samples.of(rows)
    return list(batches(held, size, padding_id=padding, vocabulary=VOCABULARY, generates=generates, seed=seed, start=start))


def rows_of(batch: Batch, generates: bool) -> list[Sample]:
    """The samples that a batch was made of, as far as its lengths reach."""
    found = []
    for ids, length, target in zip(batch.ids.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True):
        found.append(Sample([*ids[:length], target[length - 1]], 0) if generates else Sample(ids[:length], target))
    return found


def same(one: Batch, other: Batch) -> bool:
    return all(a is b is None or (a is not None and b is not None and torch.equal(a, b)) for a, b in zip(one, other, strict=True))


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds, st.booleans())
def test_every_sample_is_in_exactly_one_batch(rows: list[Sample], size: int, seed: int | None, generates: bool) -> None:
    found = [sample for batch in drawn(rows, size, seed, generates) for sample in rows_of(batch, generates)]
    expected = [Sample(sample.ids, 0 if generates else sample.target) for sample in rows]
    assert Counter(map(repr, found)) == Counter(map(repr, expected))


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds)
def test_a_batch_is_never_larger_than_asked_for_and_there_are_no_more_of_them_than_it_takes(
    rows: list[Sample], size: int, seed: int | None
) -> None:
    sizes = [len(batch.ids) for batch in drawn(rows, size, seed)]
    assert max(sizes) <= size
    assert len(sizes) == batch_count(Samples.of(rows), size) == -(-len(rows) // size)


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds, st.booleans())
def test_padding_stands_after_the_words_and_is_no_wider_than_the_longest(
    rows: list[Sample], size: int, seed: int | None, generates: bool
) -> None:
    padding = 99
    for batch in drawn(rows, size, seed, generates, padding):
        after = torch.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
        assert torch.equal(batch.ids == padding, after)
        assert batch.ids.shape[1] == batch.lengths.max()


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20), seeds)
def test_padding_is_never_a_target(rows: list[Sample], size: int, seed: int | None) -> None:
    counted = 0
    for batch in drawn(rows, size, seed, generates=True):
        after = torch.arange(batch.targets.shape[1]) >= batch.lengths[:, None]
        assert torch.equal(batch.targets == IGNORED, after)
        counted += int((batch.targets != IGNORED).sum())
    assert counted == sum(len(sample.ids) - 1 for sample in rows)


@settings(deadline=None, max_examples=50)
@given(samples, st.integers(1, 20))
def test_a_target_is_the_word_that_follows(rows: list[Sample], size: int) -> None:
    for batch in drawn(rows, size, generates=True):
        for ids, targets, length in zip(batch.ids.tolist(), batch.targets.tolist(), batch.lengths.tolist(), strict=True):
            assert targets[: length - 1] == ids[1:length]


def test_a_seed_is_an_order_another_seed_another_one_and_none_is_by_length() -> None:
    chance = random.Random(3)
    rows = [Sample([1] * chance.randint(2, 30), index) for index in range(200)]

    def order(seed: int | None) -> list[int]:
        return [target for batch in drawn(rows, 8, seed) for target in batch.targets.tolist()]

    assert order(1) == order(1)
    assert order(1) != order(2)
    lengths = [len(rows[index].ids) for index in order(None)]
    assert lengths == sorted(lengths)


def test_texts_of_one_batch_are_alike_in_length() -> None:
    """Little padding: in random order half of these ids would be padding, in order of length nearly none."""
    chance = random.Random(3)
    rows = [Sample([1] * chance.randint(2, 40), index) for index in range(512)]
    padded = sum(int((batch.ids == 0).sum()) for batch in drawn(rows, 16, seed=5))
    words = sum(len(row.ids) for row in rows)
    assert padded / (padded + words) < 0.05


def test_a_shuffled_order_does_not_begin_with_the_shortest() -> None:
    rows = [Sample([1] * (2 + index // 16), index) for index in range(256)]
    lengths = [int(batch.lengths.max()) for batch in drawn(rows, 16, seed=1)]
    assert lengths != sorted(lengths)


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(1, 4), seeds, st.integers(0, 90), st.booleans())
def test_a_start_passes_over_as_many_batches_and_changes_none_of_the_others(
    rows: list[Sample], size: int, seed: int | None, start: int, generates: bool
) -> None:
    whole, rest = drawn(rows, size, seed, generates), drawn(rows, size, seed, generates, start=start)
    assert len(rest) == max(0, len(whole) - start)
    assert all(map(same, rest, whole[start:]))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 900), st.integers(1, 3), st.integers(1, 60), st.integers(0, 2**31), st.integers(0, 300))
def test_more_samples_than_can_be_shuffled_one_by_one_are_shuffled_in_blocks_by_the_same_rules(
    count: int, size: int, blocks: int, seed: int, start: int
) -> None:
    rows = [Sample([1] * (2 + index % 7), index) for index in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCKS", blocks)
        whole, rest = drawn(rows, size, seed), drawn(rows, size, seed, start=start)
    assert sorted(target for batch in whole for target in batch.targets.tolist()) == list(range(count))
    assert len(whole) == -(-count // size)
    assert all(map(same, rest, whole[start:]))


def test_blocks_of_neighbours_are_mixed_with_others_from_all_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCKS", 2_000)
    rows = [Sample([1, 2], index) for index in range(20_000)]
    for batch in drawn(rows, 16, seed=1)[:-1]:
        assert int(batch.targets.max() - batch.targets.min()) > 5_000
        assert len({target // 10 for target in batch.targets.tolist()}) > 10  # blocks have ten rows


# Unknown words


def with_unknown(words: int, rows: list[list[int]]) -> Samples:
    """Samples with a table of unknown words, whose runs of characters tell which of them it is."""
    return Samples.of([(ids, 0) for ids in rows], np.arange(1, 1 + 3 * words, dtype=np.int32).reshape(words, 3))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.integers(1, VOCABULARY + 6), min_size=1, max_size=9), min_size=1, max_size=30), st.integers(1, 8), seeds
)
def test_an_unknown_word_has_its_own_runs_whatever_its_number_in_a_batch(
    rows: list[list[int]], size: int, seed: int | None
) -> None:
    held = with_unknown(7, rows)
    found = []
    for batch in drawn(held, size, seed):
        assert batch.grams is not None
        unknown = batch.ids[batch.ids >= VOCABULARY] - VOCABULARY
        assert sorted(set(unknown.tolist())) == list(range(len(batch.grams)))  # each once, and none that is not there
        whose = (batch.grams[:, 0] - 1) // 3
        assert torch.equal(batch.grams, torch.from_numpy(held.grams(whose.numpy())).long())
        for ids, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
            found.append([int(whose[i - VOCABULARY]) + VOCABULARY if i >= VOCABULARY else i for i in ids[:length].tolist()])
    assert sorted(found) == sorted(rows)


def test_samples_that_do_not_tell_unknown_words_apart_have_batches_without_runs() -> None:
    assert [batch.grams for batch in drawn([Sample([1, 2], 0)], 4)] == [None]
    grams = drawn(with_unknown(2, [[1, 2]]), 4)[0].grams
    assert grams is not None
    assert grams.shape == (0, 3)


# Several processes


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_shares_together_are_the_batch(rows: list[Sample], size: int, world: int, generates: bool) -> None:
    for batch in drawn(rows, size, 1, generates):
        shares = [batch.share(rank, world) for rank in range(world)]
        assert all(len(share.ids) == max(1, len(batch.ids[rank::world])) for rank, share in enumerate(shares))
        for row in range(len(batch.ids)):
            share, place = shares[row % world], row // world
            for part, whole in zip(share[:3], batch[:3], strict=True):
                assert torch.equal(part[place], whole[row])
        assert sum(int((share.targets != IGNORED).sum()) for share in shares) == int((batch.targets != IGNORED).sum())


def test_a_process_for_which_no_row_is_left_takes_one_that_counts_for_nothing() -> None:
    for generates in (False, True):
        share = drawn([Sample([1, 2, 3], 1)], 4, generates=generates)[0].share(2, 3)
        assert len(share.ids) == len(share.lengths) == len(share.targets) == 1
        assert set(share.targets.flatten().tolist()) == {IGNORED}


def test_a_share_keeps_the_runs_of_all_unknown_words() -> None:
    batch = drawn(with_unknown(3, [[VOCABULARY], [VOCABULARY + 1], [VOCABULARY + 2]]), 3)[0]
    for rank in range(4):
        assert batch.share(rank, 4).grams is batch.grams


def test_a_batch_moves_with_all_its_parts() -> None:
    for rows in (Samples.of([([1, 2], 0)]), with_unknown(1, [[VOCABULARY]])):
        batch = drawn(rows, 1)[0]
        moved = [part.device.type for part in batch.to("meta") if part is not None]
        assert moved == ["meta"] * (3 + rows.tells_unknown_apart)


# Lanes

texts = st.lists(st.integers(1, 9), min_size=1, max_size=120)


def lanes_of(windows: list[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """What was read and what it was to be followed by, each (rows, words)."""
    return torch.cat([batch.ids for batch in windows], dim=1), torch.cat([batch.targets for batch in windows], dim=1)


@settings(deadline=None, max_examples=100)
@given(texts, st.integers(1, 6), st.integers(1, 9), seeds)
def test_a_lane_s_windows_are_its_part_of_the_text_and_the_targets_follow(
    words: list[int], rows: int, window: int, seed: int | None
) -> None:
    held, lane = Samples.of([(words, 0)]), len(words) // rows
    windows = list(lanes(held, rows, window, seed=seed))
    assert len(windows) == lane_count(held, rows, window)
    if lane < 2:
        assert not windows
        return
    read, targets = lanes_of(windows)
    assert read.shape == targets.shape == (rows, lane - 1)
    assert torch.equal(read[:, 1:], targets[:, :-1])
    together = torch.cat([read, targets[:, -1:]], dim=1).flatten().tolist()
    turns = [(words[at:] + words[:at])[: rows * lane] for at in (range(len(words)) if seed is not None else [0])]
    assert together in turns
    for batch in windows:
        assert set(batch.lengths.tolist()) == {batch.ids.shape[1]}
        assert batch.ids.shape[1] <= window


@settings(deadline=None, max_examples=100)
@given(texts, st.integers(1, 6), st.integers(1, 9), seeds, st.integers(0, 30))
def test_lanes_from_a_start_are_those_that_were_left(
    words: list[int], rows: int, window: int, seed: int | None, start: int
) -> None:
    held = Samples.of([(words, 0)])
    whole, rest = list(lanes(held, rows, window, seed=seed)), list(lanes(held, rows, window, seed=seed, start=start))
    assert len(rest) == max(0, len(whole) - start)
    assert all(map(same, rest, whole[start:]))


def test_a_seed_lets_windows_begin_elsewhere_and_no_two_epochs_differ_in_length() -> None:
    held = Samples.of([(list(range(1000)), 0)])
    begins = {int(next(lanes(held, 4, 7, seed=seed)).ids[0, 0]) for seed in range(20)}
    assert len(begins) > 10
    assert {len(list(lanes(held, 4, 7, seed=seed))) for seed in (None, *range(20))} == {lane_count(held, 4, 7)}


# Memory

ITERATION = """
import sys
from pathlib import Path
import numpy as np
from training.batches import batches, lanes
from training.samples import Column, Samples

def rss_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile")))

folder = Path(sys.argv[1])
columns = (("ids", "i"), ("ends", "q"), ("lengths", "i"), ("targets", "i"))
samples = Samples(*(Column(folder / name, code) for name, code in columns), None)
few = Samples.of([([1] * 200, 0)] * 64)
for held in (few, samples):
    before = rss_kib()
    for batch in batches(held, 64, padding_id=0, vocabulary=10, generates=True, seed=1):
        pass
    for batch in lanes(held, 16, 512, seed=1):
        pass
print(samples.words * 4 // 1024, rss_kib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory cannot be told apart")
def test_a_file_of_samples_is_gone_through_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    lengths = np.full(125_000, 200, np.int32)
    for name, column in (("lengths", lengths), ("targets", lengths), ("ends", np.cumsum(lengths, dtype=np.int64))):
        column.tofile(tmp_path / name)
    np.ones(int(lengths.sum()), np.int32).tofile(tmp_path / "ids")
    told = subprocess.run([sys.executable, "-c", ITERATION, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    file_kib, grown_kib = map(int, told.split())
    assert file_kib > 90_000
    assert grown_kib < 30_000
