"""History's buckets are what numpy computes of the rows in them, whatever comes in what order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nbdebug.core.history.block import Block
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.core.series import Series

ODD = st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300])
ROWS = st.lists(
    st.tuples(st.floats(-100, 100) | ODD, st.floats(-100, 100) | st.just(np.nan)),
    min_size=1,
    max_size=700,
)


def plain_bucket(chunk: NDArray[np.float64]) -> tuple[float, float, float, float, int]:
    """Minimum, maximum, mean, last and count of what was measured."""
    known = chunk[~np.isnan(chunk)]
    if not len(known):
        return np.nan, np.nan, np.nan, np.nan, 0
    with np.errstate(invalid="ignore", over="ignore"):
        return known.min(), known.max(), known.mean(), known[-1], len(known)


@given(rows=ROWS, capacity=st.integers(2, 40), folds=st.sets(st.integers(0, 700), max_size=6))
def test_buckets_are_what_numpy_computes(
    rows: list[tuple[float, float]], capacity: int, folds: set[int]
) -> None:
    values = np.array(rows)
    block = Block(("a", "b"), capacity)
    for step, row in enumerate(values):
        block.append(3 * step, row)
        if step in folds:
            block.fold()
    buckets = block.fold()

    starts = range(0, len(values), block.stride)
    assert len(buckets.steps) == len(starts) <= capacity
    for place, start in enumerate(starts):
        chunk = values[start : start + block.stride]
        assert buckets.steps[place] == 3 * (start + len(chunk) - 1)
        for column in range(2):
            low, high, mean, last, count = plain_bucket(chunk[:, column])
            found = (buckets.minimum, buckets.maximum, buckets.last, buckets.count)
            assert_same([one[place, column] for one in found], [low, high, last, count])
            if np.isfinite(mean):
                # Beside numbers as large as these a small one is rounded away.
                rounding = 1e-9 * max(1.0, abs(low), abs(high))
                np.testing.assert_allclose(
                    buckets.mean[place, column], mean, atol=rounding, rtol=1e-9
                )


@given(
    length=st.integers(1, 600), spike=st.integers(0, 599), buckets=st.integers(2, 32),
    limit=st.integers(1, 20),
)  # fmt: skip
def test_a_spike_never_disappears(length: int, spike: int, buckets: int, limit: int) -> None:
    spike %= length
    history = History(buckets=buckets)
    for step in range(length):
        value = 1e6 if step == spike else float(step % 5)
        history.append(StepRecord(step, (Reading(("loss",), np.array([value])),)))

    series = history.snapshot(["loss"]).series["loss"]
    for found in (series, series.thin(limit)):
        assert found.maximum.max() == 1e6
        place = int(found.maximum.argmax())
        before = found.step[place - 1] if place else -1
        assert before < spike <= found.step[place]
        assert found.count.sum() == length


@given(rows=st.lists(st.floats(-100, 100), min_size=1, max_size=80), limit=st.integers(1, 30))
def test_thinned_is_what_numpy_computes(rows: list[float], limit: int) -> None:
    values, steps = np.array(rows), np.arange(len(rows))
    series = Series("a", steps, values, values, values, values, np.ones(len(rows), np.int32))
    found = series.thin(limit)

    assert len(found) <= limit
    group = 1
    while -(-len(rows) // group) > limit:
        group *= 2
    for place, start in enumerate(range(0, len(rows), group)):
        low, high, mean, last, count = plain_bucket(values[start : start + group])
        columns = (found.minimum, found.maximum, found.last, found.count)
        assert_same([one[place] for one in columns], [low, high, last, count])
        np.testing.assert_allclose(found.mean[place], mean, atol=1e-9)


def assert_same(found: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(np.array(found, float), np.array(expected, float))
