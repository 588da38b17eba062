"""The smoothed curve of the dashboard, of reports and of comparisons.

All of them draw the same number: the exponential moving average of the points that the loss
panel draws, at most 1000 of a run, corrected for its start.
"""

from __future__ import annotations

import math

import numpy as np

from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.plots.columns import MAX_ROWS

SMOOTHING = 0.9


def smoothed(values: Array, weight: float = SMOOTHING) -> Array:
    """Exponential moving average of values [B], corrected for its start (Kingma, Ba 2015).

    Point i is `sum(weight**(i - j) * values[j]) / sum(weight**(i - j))` over all j up to i. NaN
    and Inf are skipped; before the first finite value the average is NaN.

    Args:
        values: [B] values of the B points that are drawn.
        weight: 0 (no smoothing) up to, but without, 1: how much the average keeps at each point.
    """
    result = []
    average, total = 0.0, 0.0
    for value in values.tolist():
        if math.isfinite(value):
            average = weight * average + (1 - weight) * value
            total = weight * total + (1 - weight)
        result.append(average / total if total else math.nan)
    return np.array(result)


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
    return smoothed(fine.mean)[kept]
