"""The smoothed curve of the dashboard, of reports and of comparisons.

All of them draw the same number: the symmetric exponential average of the points that the loss
panel draws, at most 1000 of a run. An average of earlier points alone would lag behind a falling
loss; this one looks to both sides and does not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.plots.columns import MAX_ROWS
from nbdebug.plots.curves import significant

SMOOTHING = 0.9


def smoothed(values: Array, weight: float = SMOOTHING) -> Array:
    """Symmetric exponential average of values [B].

    Point i is `sum(weight**abs(i - j) * values[j]) / sum(weight**abs(i - j))` over all j, so a
    straight line stays where it is away from its ends. NaN and Inf are skipped; without a finite
    value the average is NaN.

    Args:
        values: [B] values of the B points that are drawn.
        weight: 0 (no smoothing) up to, but without, 1: how much a neighbour counts against the
            point itself.
    """
    known = np.isfinite(values)
    numbers, ones = np.where(known, values, 0.0), known.astype(np.float64)
    # Both passes hold the point itself.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        total = _decayed(numbers, weight) + _decayed(numbers[::-1], weight)[::-1] - numbers
        count = _decayed(ones, weight) + _decayed(ones[::-1], weight)[::-1] - ones
        result: Array = total / np.where(count > 0, count, np.nan)
    return result


def _decayed(values: Iterable[float], weight: float) -> Array:
    """Sum of each value [B] and the ones before it, each `weight` times less than the next."""
    sums, total = [], 0.0
    for value in values:
        total = weight * total + float(value)
        sums.append(total)
    return np.array(sums)


def smoothed_series(series: Series, limit: int = MAX_ROWS) -> Array:
    """Smoothed values at the points of `series.thin(limit)`.

    The average is taken over the points of the loss panel, whatever the limit, so that a run has
    the same smoothed curve wherever it is drawn.

    Args:
        limit: at most the number of points in the loss panel (1000).
    """
    fine = series.thin(MAX_ROWS)
    # Thinning merges whole groups of 2, 4, 8, ...: the coarse points are some of the fine ones.
    kept = np.isin(fine.step, series.thin(limit).step)
    return drawn_average(fine.mean)[kept]


def drawn_average(values: Array, weight: float = SMOOTHING) -> Array:
    """`smoothed` to five digits: every new point moves all earlier ones, by less and less."""
    return significant(smoothed(values, weight))
