"""The smoothed curve of the dashboard, of reports and of comparisons.

All of them draw the same number: the symmetric exponential average of the points that the loss
panel draws, at most 1000 of a run. An average of earlier points alone would lag behind a falling
loss; this one looks to both sides and does not, nor at the ends, where it follows a fitted line. It
looks over no change of a control: what a change does is not to be seen before the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import Array, ControlChange
from nbdebug.core.series import Series
from nbdebug.plots.columns import MAX_ROWS
from nbdebug.plots.curves import significant, spans_decades

SMOOTHING = 0.9
# Of two changes closer than this, the second is part of the same turn of a dial.
MIN_POINTS_BETWEEN_CHANGES = 10

LARGE = 1e100


def smoothed(values: Array, weight: float = SMOOTHING) -> Array:
    """Symmetric exponential average of values [B], of a fitted line near the ends.

    Point i is the value at i of the line that fits all points j best with the weights
    `weight**abs(i - j)`, within the extremes of the values. Far from the ends that is the weighted
    mean of both sides; where one side is short, the mean would lag behind a slope and the line does
    not: a straight line stays where it is. NaN and Inf are skipped; without a finite value the
    average is NaN.

    Args:
        values: [B] values of the B points that are drawn.
        weight: 0 (no smoothing) up to, but without, 1: how much a neighbour counts against the
            point itself.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), np.nan)
    low, high = values[known].min(), values[known].max()
    # The sums of the largest numbers would be infinite.
    scale = max(-low, high) if max(-low, high) > LARGE else 1.0
    numbers = np.where(known, values, 0.0) / scale
    before = _moments(numbers, known, weight)
    after = _moments(numbers[::-1], known[::-1], weight)[:, ::-1]
    # Distances to the left are negative, and both sides hold the point itself.
    total, count, slope, tilt, spread = before + after * np.array([[1], [1], [-1], [-1], [1]])
    total, count = total - numbers, count - known
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = total / np.where(count > 0, count, np.nan)
        centre = tilt / count
        variance = spread / count - centre**2
        line = mean - centre * np.where(variance > 0, (slope / count - centre * mean) / variance, 0)
        result: Array = np.clip(line * scale, low, high)
    return result


def _moments(values: Array, known: NDArray[np.bool_], weight: float) -> Array:
    """Sums over each point [B] and those before it, each `weight` times less than the next.

    Returns:
        [5, B]: of the values, of ones, of values times their distance (below zero), of distances,
        and of squared distances.
    """
    sums = []
    total = count = slope = tilt = spread = 0.0
    for value, one in zip(values.tolist(), known.tolist(), strict=True):
        spread = weight * (spread - 2 * tilt + count)
        tilt, slope = weight * (tilt - count), weight * (slope - total)
        total, count = weight * total + value, weight * count + one
        sums.append((total, count, slope, tilt, spread))
    return np.array(sums).T


def change_steps(changes: Iterable[ControlChange]) -> list[float]:
    """First steps after each control change, rewind and re-estimation that was applied."""
    return [float(change.step) for change in changes if change.status == "applied"]


def smoothed_series(series: Series, limit: int = MAX_ROWS, changes: Sequence[float] = ()) -> Array:
    """Smoothed values at the points of `series.thin(limit)`.

    The average is taken over the points of the loss panel, whatever the limit, so that a run has
    the same smoothed curve wherever it is drawn.

    Args:
        limit: at most the number of points in the loss panel (1000).
        changes: steps at which a control was changed.
    """
    fine = series.thin(MAX_ROWS)
    # Thinning merges whole groups of 2, 4, 8, ...: the coarse points are some of the fine ones.
    kept = np.isin(fine.step, series.thin(limit).step)
    return drawn_average(fine, changes)[kept]


def drawn_average(
    series: Series, changes: Sequence[float] = (), weight: float = SMOOTHING
) -> Array:
    """The average from one control change to the next, to five digits.

    Every new point moves all earlier ones, by less and less.

    Args:
        changes: steps at which a control was changed. A point that holds steps before and after
            a change belongs to those after it.
    """
    parts = np.split(series.mean, _starts(series.step, changes))
    return significant(np.concatenate([_along_trend(part, weight) for part in parts]))


def _along_trend(values: Array, weight: float) -> Array:
    """`smoothed`, and where values span decades the average of their ratios to a trend.

    The mean of both sides of a curve that bends upwards lies above it: on the logarithmic axis on
    which a loss falls by decades, far above. The trend is the average of the logarithms.
    """
    if not spans_decades(values):
        return smoothed(values, weight)
    known = values[np.isfinite(values)]
    trend = np.exp(smoothed(np.log(values), weight))
    with np.errstate(over="ignore"):
        found: Array = trend * smoothed(values / trend, weight)
    return np.clip(found, known.min(), known.max())


def _starts(steps: NDArray[np.int64], changes: Sequence[float]) -> list[int]:
    """Places of the first points after the changes."""
    starts: list[int] = []
    for place in np.unique(np.searchsorted(steps, changes)).tolist():
        if place - (starts[-1] if starts else -np.inf) >= MIN_POINTS_BETWEEN_CHANGES:
            starts.append(place)
    return starts
