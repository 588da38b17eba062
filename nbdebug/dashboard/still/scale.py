"""Scales of a small plot, with few round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import Array

# A logarithmic scale from this ratio of the largest to the smallest value on.
LOG_RATIO = 3.0
# Percent of values that may lie outside of a scale.
OUTLIERS = 0.5
# Values that differ by this share of them are one value.
SAME = 1e-6
# Place of a zero on a logarithmic scale.
BELOW = -0.03


@dataclass(frozen=True, slots=True)
class Scale:
    """Range of the values on an axis, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def shares(self, values: Array | NDArray[np.int64]) -> Array:
        """Places of values [N] between the ends, 0 to 1; a zero on a log scale is below."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            with np.errstate(divide="ignore", invalid="ignore"):
                places = (np.log10(values) - low) / (high - low)
            return np.where(values == 0, BELOW, places)
        # Halves: the difference of two large values may overflow.
        return np.asarray((values / 2 - self.low / 2) / (self.high / 2 - self.low / 2))

    def ticks(self, count: int = 4) -> list[float]:
        """About `count` round values between the ends."""
        return _log_ticks(self.low, self.high, count) if self.log else self._linear(count)

    def _linear(self, count: int) -> list[float]:
        step = _round_up((self.high / 2 - self.low / 2) / count * 2)
        first = math.ceil(self.low / step - 1e-9)
        ticks = [(first + index) * step for index in range(count + 2)]
        return [tick for tick in ticks if tick <= self.high * (1 + 1e-12)] or [self.low]


def value_scale(curves: Sequence[Array], bounds: Sequence[Array], log: bool) -> Scale | None:
    """Scale for curves, without a few outliers; None without a finite value.

    Args:
        curves: smoothed values. A single step far below them takes no room on a log scale.
        bounds: all values; they have room on a linear scale.
        log: take a logarithmic scale if no value is negative and most are above zero.
    """
    values = _finite(curves)
    if not len(values):
        return None
    above = values[values > 0]
    if log and values.min() >= 0 and len(above) > len(values) / 2:
        low, high = float(np.percentile(above, OUTLIERS)), float(above.max())
        if high / low >= LOG_RATIO:
            return Scale(low / 1.08, min(high * 1.08, 1e308), log=True)
    values = _finite([*curves, *bounds])
    low, high = np.percentile(values, [OUTLIERS, 100 - OUTLIERS]).tolist()
    spread = high / 2 - low / 2
    if spread <= abs(high) * SAME:
        spread = abs(high)
    margin = spread * 0.12 or 1.0
    return Scale(max(low - margin, -1e308), min(high + margin, 1e308))


def _finite(parts: Sequence[Array]) -> Array:
    values = np.concatenate([np.empty(0), *parts])
    return np.asarray(values[np.isfinite(values)])


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten; between them 2 and 5 times as much where the ends are close."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    stride = max(-(-(last - first) // count), 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [f * 10.0**power for power in range(first, last + 1, stride) for f in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 2:
            return inside
    return [tick for tick in Scale(low, high).ticks(count) if tick > 0]


def _round_up(step: float) -> float:
    """The next of 1, 2, 5, 10, ... times a power of ten."""
    if not step > 0 or not math.isfinite(step):
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= step * (1 - 1e-9))
