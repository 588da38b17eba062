"""Bucketed series of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import Array


@dataclass(frozen=True, slots=True)
class Series:
    """One series in B buckets, the oldest first; all arrays [B].

    Attributes:
        step: last step of each bucket.
        mean, minimum, maximum, last: statistics of the values in each bucket.
        count: number of values in each bucket.
    """

    name: str
    step: NDArray[np.int64]
    mean: Array
    minimum: Array
    maximum: Array
    last: Array
    count: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.step)

    def part(self, which: NDArray[np.bool_]) -> Series:
        """Select buckets by a mask."""
        return Series(
            self.name,
            self.step[which],
            self.mean[which],
            self.minimum[which],
            self.maximum[which],
            self.last[which],
            self.count[which],
        )

    def thin(self, limit: int) -> Series:
        """Merge neighbours in groups of 2, 4, 8, ... until at most `limit` buckets remain.

        Groups are counted from the first bucket, so buckets that were merged once stay
        the same while the series grows.
        """
        group = 1
        while -(-len(self) // group) > limit:
            group *= 2
        if group == 1:
            return self
        starts = np.arange(0, len(self), group)
        ends = np.append(starts[1:], len(self)) - 1
        count = np.add.reduceat(self.count, starts)
        # The sum of opposite infinities is NaN, and so is their mean.
        with np.errstate(invalid="ignore", over="ignore"):
            weighted = np.add.reduceat(self.mean * self.count, starts)
        return Series(
            self.name,
            self.step[ends],
            weighted / np.maximum(count, 1),
            np.fmin.reduceat(self.minimum, starts),
            np.fmax.reduceat(self.maximum, starts),
            self.last[ends],
            count.astype(np.int32),
        )

    def continued_with(self, start: int, other: Series) -> Series:
        """Buckets of this series before `start`, then those of `other`."""
        before = self.part(self.step < start)
        columns = ("step", "mean", "minimum", "maximum", "last", "count")
        joined = (np.concatenate([getattr(before, c), getattr(other, c)]) for c in columns)
        return Series(self.name, *joined)
