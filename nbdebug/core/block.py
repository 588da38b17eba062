"""Bounded storage of series that are measured together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import Array

PENDING = 256


class Block:
    """Buckets of K series with common steps, at most `capacity`, however many rows come.

    A bucket holds `stride` rows. When all buckets are full, neighbours merge and the
    stride doubles: extremes are kept, memory stays. New rows wait in a small buffer and
    are folded in together, which keeps the cost of one row near that of a copy.

    Attributes:
        steps: [B] step of the last row of each bucket.
        minimum, maximum, mean, last: [B, K]; count: [B, K] rows that were not NaN.
    """

    def __init__(self, names: tuple[str, ...], capacity: int) -> None:
        self.names = names
        self.capacity = capacity
        self.stride = 1
        self.rows = 0
        width = len(names)
        self.newest = np.full(width, np.nan)
        self.newest_step = -1
        self._waiting = 0
        self._pending = np.empty((PENDING, width))
        self._pending_steps = np.empty(PENDING, np.int64)
        self.steps: NDArray[np.int64] = np.empty(0, np.int64)
        self.minimum = self.maximum = self.mean = self.last = np.empty((0, width))
        self.count: NDArray[np.int32] = np.empty((0, width), np.int32)

    def append(self, step: int, values: Array) -> None:
        """Add one row, values [K]."""
        place = self._waiting
        self._pending[place] = values
        self._pending_steps[place] = step
        self.newest_step = step
        self._waiting = place + 1
        if self._waiting == PENDING:
            self.fold()

    def latest(self) -> Array:
        """The last row, [K]."""
        return self._pending[self._waiting - 1] if self._waiting else self.newest

    def fold(self) -> None:
        """Move the waiting rows into buckets."""
        new = self._waiting
        if not new:
            return
        rows, steps = self._pending[:new], self._pending_steps[:new]
        self.newest = rows[-1].copy()
        # The last bucket may be partly filled: it is opened and filled up.
        while -(-(self.rows + new) // self.stride) > self.capacity:
            self._halve()
        filled = self.rows % self.stride
        starts = _starts(filled, new, self.stride)
        parts = _reduce(rows, starts)
        ends = np.append(starts[1:], new) - 1
        self._join(parts, steps[ends], open_last=filled > 0)
        self.rows += new
        self._waiting = 0

    def _join(self, parts: Parts, steps: NDArray[np.int64], open_last: bool) -> None:
        if open_last:
            last = tuple(column[-1:] for column in self._columns())
            first = tuple(column[:1] for column in parts)
            merged = _merge(last, first)
            parts = tuple(np.concatenate([a, b[1:]]) for a, b in zip(merged, parts, strict=True))
        keep = len(self.steps) - open_last
        self.steps = np.concatenate([self.steps[:keep], steps])
        self._store(
            tuple(np.concatenate([a[:keep], b]) for a, b in zip(self._columns(), parts, strict=True))
        )

    def _halve(self) -> None:
        """Merge neighbouring buckets and double the stride."""
        size = len(self.steps)
        even = size - size % 2
        columns = self._columns()
        pairs = _merge(
            tuple(column[0:even:2] for column in columns),
            tuple(column[1:even:2] for column in columns),
        )
        rest = tuple(column[even:] for column in columns)
        self._store(tuple(np.concatenate([a, b]) for a, b in zip(pairs, rest, strict=True)))
        self.steps = np.concatenate([self.steps[1:even:2], self.steps[even:]])
        self.stride *= 2

    def _columns(self) -> Parts:
        return self.minimum, self.maximum, self.mean, self.last, self.count

    def _store(self, parts: Parts) -> None:
        self.minimum, self.maximum, self.mean, self.last, self.count = parts


Parts = tuple[Array, Array, Array, Array, NDArray[np.int32]]


def _starts(filled: int, new: int, stride: int) -> NDArray[np.int64]:
    """First row of each bucket when `filled` rows of the first one are there already."""
    first = (stride - filled) % stride if filled else 0
    starts = np.arange(first, new, stride)
    return np.concatenate([[0], starts]) if filled else starts


def _reduce(rows: Array, starts: NDArray[np.int64]) -> Parts:
    """Rows [R, K] to buckets that begin at `starts`; NaN counts as missing."""
    known = ~np.isnan(rows)
    count = np.add.reduceat(known.astype(np.int32), starts, axis=0)
    total = np.add.reduceat(np.where(known, rows, 0.0), starts, axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    ends = np.append(starts[1:], len(rows)) - 1
    last = rows[ends].copy()
    if not known.all():
        last = _last_known(rows, starts, last)
    low = np.fmin.reduceat(rows, starts, axis=0)
    high = np.fmax.reduceat(rows, starts, axis=0)
    return low, high, mean, last, count


def _last_known(rows: Array, starts: NDArray[np.int64], last: Array) -> Array:
    for bucket, part in enumerate(np.split(rows, starts[1:])):
        for row in part:
            last[bucket] = np.where(np.isnan(row), last[bucket], row)
    return last


def _merge(left: Parts, right: Parts) -> Parts:
    """Bucket by bucket, the earlier with the later one."""
    count = left[4] + right[4]
    both = (left[4] > 0) & (right[4] > 0)
    with np.errstate(invalid="ignore"):
        weighted = (left[2] * left[4] + right[2] * right[4]) / np.maximum(count, 1)
    mean = np.where(both, weighted, np.where(left[4] > 0, left[2], right[2]))
    last = np.where(np.isnan(right[3]), left[3], right[3])
    return np.fmin(left[0], right[0]), np.fmax(left[1], right[1]), mean, last, count
