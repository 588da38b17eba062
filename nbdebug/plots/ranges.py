"""Ranges of axes that a few extreme values do not set."""

from __future__ import annotations

import numpy as np

from nbdebug.core.records import Array

QUANTILES = (0.1, 0.9)
# Beyond the quantiles, as a share of their distance.
WHISKER = 0.75
# Narrower, the labels of the ticks would not differ.
LEAST_SHARE, LEAST_DECADES = 0.04, 0.02


def robust_range(values: Array, newest: Array, log: bool) -> tuple[float, float] | None:
    """Range of most of the values [B] and of all the newest [N]; None without a finite value.

    The range ends at the extremes, but at most 0.75 times the distance of the 10 % and 90 %
    quantiles beyond those: a spike does not set it, a curve that falls evenly is shown whole.

    Args:
        log: measure distances in decades, and leave out values of zero and below.
    """
    scaled, latest = _scaled(values, log), _scaled(newest, log)
    if not len(scaled):
        return None
    first, last = np.quantile(scaled, QUANTILES)
    slack = WHISKER * (last - first)
    low = min(max(scaled.min(), first - slack), *latest, *[first])
    high = max(min(scaled.max(), last + slack), *latest, *[last])
    least = LEAST_DECADES if log else LEAST_SHARE * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    return (float(10.0**low), float(10.0**high)) if log else (float(low), float(high))


def _scaled(values: Array, log: bool) -> Array:
    known = values[np.isfinite(values)]
    return np.log10(known[known > 0]) if log else known
