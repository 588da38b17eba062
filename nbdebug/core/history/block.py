"""Bounded storage of series that are measured together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import Array

MAX_PENDING_ROWS = 256
# Folding moves all buckets of a block: for less than this share of its series, only theirs.
FEW_OF = 4


@dataclass(frozen=True, slots=True)
class Buckets:
    """B groups of consecutive rows of K series.

    Attributes:
        steps: [B] step of the last row of each bucket.
        minimum, maximum, mean, last: [B, K], NaN without a measurement.
        count: [B, K] number of measured values.
    """

    steps: NDArray[np.int64]
    minimum: Array
    maximum: Array
    mean: Array
    last: Array
    count: NDArray[np.int32]

    @classmethod
    def of(cls, steps: NDArray[np.int64], rows: Array, starts: NDArray[np.int64]) -> Buckets:
        """Group rows [R, K] into buckets that begin at `starts`; NaN counts as missing."""
        known = ~np.isnan(rows)
        count = np.add.reduceat(known.astype(np.int32), starts, axis=0)
        total = np.add.reduceat(np.where(known, rows, 0.0), starts, axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        ends = np.append(starts[1:], len(rows)) - 1
        last = rows[ends].copy() if known.all() else _last_known(rows, starts)
        low = np.fmin.reduceat(rows, starts, axis=0)
        high = np.fmax.reduceat(rows, starts, axis=0)
        return cls(steps[ends], low, high, mean, last, count)

    def part(self, which: slice) -> Buckets:
        """Select buckets by a slice."""
        return Buckets(*(column[which] for column in self._columns()))

    def columns(self, which: list[int]) -> Buckets:
        """Copy some series."""
        steps, *rest = self._columns()
        return Buckets(steps, *(np.ascontiguousarray(column[:, which]) for column in rest))

    def followed_by(self, later: Buckets) -> Buckets:
        """Append later buckets."""
        pairs = zip(self._columns(), later._columns(), strict=True)
        return Buckets(*(np.concatenate(pair) for pair in pairs))

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.steps, self.minimum, self.maximum, self.mean, self.last, self.count

    def merged(self, later: Buckets) -> Buckets:
        """Merge each bucket with the later one at the same index."""
        count = self.count + later.count
        both = (self.count > 0) & (later.count > 0)
        total = self.mean * self.count + later.mean * later.count
        one = np.where(self.count > 0, self.mean, later.mean)
        return Buckets(
            later.steps,
            np.fmin(self.minimum, later.minimum),
            np.fmax(self.maximum, later.maximum),
            np.where(both, total / np.maximum(count, 1), one),
            np.where(np.isnan(later.last), self.last, later.last),
            count,
        )


# Number of rows that a reader has seen, and number of truncations before that.
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """New buckets of K series; they replace all rows from `start` on.

    Attributes:
        names: names of the series; stride: rows per bucket, the last one may hold fewer.
    """

    names: tuple[str, ...]
    start: int
    stride: int
    buckets: Buckets


class Block:
    """At most `capacity` buckets of K series with common steps, for any number of rows.

    A bucket holds `stride` rows. When all buckets are full, neighbours merge and the
    stride doubles: extremes are kept, memory is bounded. New rows wait in a small buffer and
    are merged together, so that one row costs little more than a copy.
    """

    def __init__(self, names: tuple[str, ...], capacity: int) -> None:
        self.names = names
        self.capacity = capacity
        self.stride = 1
        self.rows = 0
        width = len(names)
        self._newest = np.full(width, np.nan)
        self._cuts: list[int] = []
        self._waiting = 0
        self._pending = np.empty((MAX_PENDING_ROWS, width))
        self._pending_steps = np.empty(MAX_PENDING_ROWS, np.int64)
        nothing = np.empty((0, width))
        uncounted = np.empty((0, width), np.int32)
        self.buckets = Buckets(np.empty(0, np.int64), nothing, nothing, nothing, nothing, uncounted)

    def append(self, step: int, values: Array) -> None:
        """Add one row, values [K]."""
        index = self._waiting
        self._pending[index] = values
        self._pending_steps[index] = step
        self._waiting = index + 1
        if self._waiting == MAX_PENDING_ROWS:
            self.fold()

    def latest(self) -> Array:
        """The last row, [K]."""
        return self._pending[self._waiting - 1] if self._waiting else self._newest

    @property
    def last_step(self) -> int:
        """Step of the last row, -1 without one."""
        steps = self._pending_steps[: self._waiting] if self._waiting else self.buckets.steps
        return int(steps[-1]) if len(steps) else -1

    def truncate(self, step: int) -> None:
        """Drop the rows from a step on, and the whole bucket that contains the step."""
        buckets = self.fold()
        kept = int(np.searchsorted(buckets.steps, step))
        if kept == len(buckets.steps):
            return
        self.buckets = buckets.part(slice(0, kept))
        self.rows = kept * self.stride
        self._cuts.append(self.rows)
        self._newest = self.buckets.last[-1].copy() if kept else np.full(len(self.names), np.nan)

    def take(self, rows: Rows, total: int, newest: Array) -> None:
        """Replace the rows from `rows.start` on by those of a block that this one mirrors.

        Args:
            total: number of rows of that block; newest: its last row, [K].
        """
        self.fold()
        while self.stride < rows.stride:
            self._halve()
        if rows.start < self.rows:
            self._cuts.append(rows.start)
        kept = self.buckets.part(slice(0, rows.start // self.stride))
        self.buckets = kept.followed_by(rows.buckets)
        self.rows, self._newest = total, newest

    def changed(self, since: Position = (0, 0)) -> tuple[Rows | None, Position]:
        """Return the rows since a position, None without any, and the new position.

        Each reader keeps its own position, so any number of readers may read.
        """
        buckets = self.fold()
        known, cuts = since
        start = min((known, *self._cuts[cuts:]))
        now = self.rows, len(self._cuts)
        if start == known == self.rows:
            return None, now
        first = start // self.stride
        part = buckets.part(slice(first, None))
        return Rows(self.names, first * self.stride, self.stride, part), now

    def fold(self) -> Buckets:
        """Move the waiting rows into buckets and return all buckets."""
        if self._waiting:
            self._fold(self._waiting)
        return self.buckets

    def folded(self, which: list[int]) -> Buckets:
        """Copy of all buckets of some series; of few it costs little, since no others move."""
        if len(which) * FEW_OF > len(self.names):
            return self.fold().columns(which)
        few = Block(tuple(self.names[column] for column in which), self.capacity)
        few.stride, few.rows, few.buckets = self.stride, self.rows, self.buckets.columns(which)
        few._waiting, few._pending_steps = self._waiting, self._pending_steps
        few._pending = self._pending[:, which]
        return few.fold()

    # Infinite values are allowed: the mean of opposite infinities is NaN.
    @np.errstate(invalid="ignore", over="ignore")
    def _fold(self, new: int) -> None:
        rows, steps = self._pending[:new], self._pending_steps[:new]
        self._newest = rows[-1].copy()
        while -(-(self.rows + new) // self.stride) > self.capacity:
            self._halve()
        # The last bucket may be partly filled: fill it up first.
        filled = self.rows % self.stride
        first = (self.stride - filled) % self.stride
        starts = np.arange(first, new, self.stride)
        if first:
            starts = np.concatenate([[0], starts])
        added = Buckets.of(steps, rows, starts)
        kept = self.buckets
        if filled:
            open_one = kept.part(slice(-1, None)).merged(added.part(slice(1)))
            kept, added = kept.part(slice(-1)), open_one.followed_by(added.part(slice(1, None)))
        self.buckets = kept.followed_by(added)
        self.rows += new
        self._waiting = 0

    def _halve(self) -> None:
        """Merge neighbouring buckets and double the stride."""
        even = len(self.buckets.steps) // 2 * 2
        earlier = self.buckets.part(slice(0, even, 2))
        pairs = earlier.merged(self.buckets.part(slice(1, even, 2)))
        self.buckets = pairs.followed_by(self.buckets.part(slice(even, None)))
        self.stride *= 2


def _last_known(rows: Array, starts: NDArray[np.int64]) -> Array:
    """Last value of each bucket that is not NaN, [B, K]."""
    known = np.where(np.isnan(rows), -1, np.arange(len(rows))[:, None])
    index = np.maximum.reduceat(known, starts, axis=0)
    values = np.take_along_axis(rows, np.maximum(index, 0), axis=0)
    return np.where(index < 0, np.nan, values)
