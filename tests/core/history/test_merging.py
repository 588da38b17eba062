"""Buckets of History against a plain computation with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nbdebug.core.history.block import MAX_PENDING_ROWS, Block
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.core.series import Series
from tests.inside import fill

NAMES = ("a", "b", "c")
COLUMNS = ("minimum", "maximum", "mean", "last", "count")


def rows_with_gaps(length: int, share: float, seed: int = 0) -> NDArray[np.float64]:
    """Random rows [length, 3], of which `share` are NaN."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(length, len(NAMES)))
    rows[generator.random(rows.shape) < share] = np.nan
    return rows


def plain_stride(length: int, capacity: int) -> int:
    stride = 1
    while -(-length // stride) > capacity:
        stride *= 2
    return stride


def plain_buckets(rows: NDArray[np.float64], stride: int) -> list[list[tuple[float, ...]]]:
    """For each chunk of `stride` rows and each series: minimum, maximum, mean, last, count."""
    buckets = []
    for start in range(0, len(rows), stride):
        chunk = rows[start : start + stride]
        bucket: list[tuple[float, ...]] = []
        for column in chunk.T:
            known = column[~np.isnan(column)]
            if len(known):
                numbers = (known.min(), known.max(), known.mean(), known[-1], len(known))
            else:
                numbers = (np.nan, np.nan, np.nan, np.nan, 0)
            bucket.append(numbers)
        buckets.append(bucket)
    return buckets


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95], ids=["full", "gaps", "rare"])
@pytest.mark.parametrize("capacity", [2, 7, 16, 100])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 255, 256, 257, 1000, 2049])
def test_buckets_hold_what_numpy_computes(length: int, capacity: int, share: float) -> None:
    rows = rows_with_gaps(length, share)
    block = Block(NAMES, capacity)
    for step, row in enumerate(rows):
        block.append(10 * step, row)
    buckets = block.fold()
    stride = plain_stride(length, capacity)
    expected = np.array(plain_buckets(rows, stride))
    for index, column in enumerate(COLUMNS):
        np.testing.assert_allclose(getattr(buckets, column), expected[:, :, index], rtol=1e-12)
    ends = np.append(np.arange(stride, length, stride), length) - 1
    assert buckets.steps.tolist() == (10 * ends).tolist()
    assert len(buckets.steps) <= capacity


@pytest.mark.parametrize("every", [1, 3, 100, 300])
def test_reading_now_and_then_gives_the_same_buckets(every: int) -> None:
    rows = rows_with_gaps(1500, 0.2)
    read, unread = Block(NAMES, 32), Block(NAMES, 32)
    for step, row in enumerate(rows):
        read.append(step, row)
        unread.append(step, row)
        if step % every == 0:
            read.fold()
    one, other = read.fold(), unread.fold()
    assert one.steps.tolist() == other.steps.tolist()
    for column in COLUMNS:
        np.testing.assert_allclose(getattr(one, column), getattr(other, column), rtol=1e-12)


def test_a_spike_survives_every_merge() -> None:
    block = Block(("loss",), 8)
    for step in range(20 * MAX_PENDING_ROWS):
        block.append(step, np.array([1e6 if step == 777 else 1.0]))
    buckets = block.fold()
    assert buckets.maximum.max() == 1e6
    assert buckets.minimum.min() == 1.0
    assert int(buckets.count.sum()) == 20 * MAX_PENDING_ROWS


def test_infinite_values_merge_without_a_warning() -> None:
    block = Block(("loss",), 2)
    for step, value in enumerate([np.inf, -np.inf, 1.0, np.inf, np.inf, -np.inf]):
        block.append(step, np.array([value]))
        block.fold()
    assert block.buckets.maximum.max() == np.inf
    assert block.buckets.minimum.min() == -np.inf
    assert int(block.buckets.count.sum()) == 6


def test_the_newest_row_is_known_before_and_after_folding() -> None:
    block = Block(("a", "b"), 4)
    assert np.isnan(block.latest()).all()
    block.append(0, np.array([1.0, 2.0]))
    assert block.latest().tolist() == [1.0, 2.0]
    block.fold()
    assert block.latest().tolist() == [1.0, 2.0]


def bytes_of(block: Block) -> int:
    """Bytes of all arrays in a block."""
    columns = [getattr(block.buckets, column) for column in ("steps", *COLUMNS)]
    own = [value for value in vars(block).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in columns + own)


def test_a_block_stops_growing_when_its_buckets_are_full() -> None:
    block = Block(NAMES, 64)
    largest = 0
    sizes = []
    for step in range(50 * MAX_PENDING_ROWS):
        block.append(step, np.ones(3))
        if (step + 1) % MAX_PENDING_ROWS == 0:
            largest = max(largest, bytes_of(block))
            sizes.append(largest)
    assert sizes[-1] == sizes[1]


def test_a_million_steps_of_200_series_stay_under_64_mb() -> None:
    capacity = History().buckets
    block = Block(("loss",), capacity)
    row = np.ones(1)
    block.append(0, row)
    while block.rows < 1_000_000:
        fill(block)
        assert len(block.buckets.steps) <= capacity
    full = Block(("loss",), capacity)
    for step in range(capacity):
        full.append(step, row)
    full.fold()
    # All arrays have one row per bucket, and all except the steps one column per series.
    assert bytes_of(block) <= bytes_of(full)
    assert 200 * bytes_of(full) < 64e6


@pytest.mark.parametrize("limit", [1, 2, 5, 64, 100, 1000])
def test_thinned_series_hold_what_numpy_computes(limit: int) -> None:
    generator = np.random.default_rng(1)
    size = 100
    mean = generator.normal(size=size)
    spread = generator.random(size)
    count = generator.integers(1, 9, size=size).astype(np.int32)
    series = Series(
        "loss",
        np.arange(size) * 3,
        mean,
        mean - spread,
        mean + spread,
        generator.normal(size=size),
        count,
    )
    thin = series.thin(limit)
    group = plain_stride(size, limit)
    chunks = [slice(start, start + group) for start in range(0, size, group)]
    assert len(thin) == len(chunks) <= limit
    assert thin.name == "loss"
    assert thin.step.tolist() == [int(series.step[chunk][-1]) for chunk in chunks]
    assert thin.minimum.tolist() == [series.minimum[chunk].min() for chunk in chunks]
    assert thin.maximum.tolist() == [series.maximum[chunk].max() for chunk in chunks]
    assert thin.last.tolist() == [series.last[chunk][-1] for chunk in chunks]
    assert thin.count.tolist() == [int(count[chunk].sum()) for chunk in chunks]
    weighted = [np.average(mean[chunk], weights=count[chunk]) for chunk in chunks]
    np.testing.assert_allclose(thin.mean, weighted, rtol=1e-12)


def test_thinning_what_is_short_enough_gives_the_same_object() -> None:
    column = np.arange(5.0)
    count = np.ones(5, np.int32)
    series = Series("loss", np.arange(5), column, column, column, column, count)
    assert series.thin(5) is series


def test_what_was_thinned_stays_the_same_while_the_series_grows() -> None:
    history = History()
    for step in range(90):
        history.append(StepRecord(step, (Reading(("loss",), np.array([float(step)])),)))
    before = history.snapshot().series["loss"].thin(50)
    for step in range(90, 99):
        history.append(StepRecord(step, (Reading(("loss",), np.array([float(step)])),)))
    after = history.snapshot().series["loss"].thin(50)
    assert after.mean[: len(before)].tolist() == before.mean.tolist()


@pytest.mark.parametrize("which", [[0], [3, 1], [*range(9)]])
def test_a_few_series_are_copied_as_if_all_were_folded(which: list[int]) -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"s{place}" for place in range(9))
    read, plain = Block(names, 32), Block(names, 32)
    for step in range(700):
        row = np.where(rng.random(9) < 0.2, np.nan, rng.normal(size=9))
        for block in (read, plain):
            block.append(step, row)
        if rng.random() < 0.05:
            found, every = read.folded(which), plain.fold()
            np.testing.assert_array_equal(found.steps, every.steps)
            for part in ("mean", "minimum", "maximum", "last", "count"):
                expected = getattr(every, part)[:, which]
                # How often rows are folded moves the last bits of a mean.
                np.testing.assert_allclose(getattr(found, part), expected, rtol=1e-12)
    np.testing.assert_allclose(read.fold().mean, plain.fold().mean, rtol=1e-12)
