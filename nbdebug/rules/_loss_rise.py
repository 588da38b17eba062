"""Measure of a rise of the loss, for rules and for the harm that a change did."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.series import Series

WINDOW = 20
MAX_RISE_SHARE = 0.5
MIN_POINTS = 5
MIN_MEDIANS = 8
# Of the rise from the minimum to the bound: windows below are not yet part of it.
CALM_SHARE = 0.2
NOISE_QUANTILES = (0.159, 0.841)


def window_medians(values: Array, window: int = WINDOW) -> Array:
    """Medians of windows of values [N]; the last window ends with the last value."""
    usable = values[len(values) % window :]
    return np.asarray(np.median(usable.reshape(-1, window), axis=1), dtype=np.float64)


def rise_bound(medians: Array, best: int, share: float = MAX_RISE_SHARE) -> float:
    """Loss above which the rise since the minimum is clear.

    Args:
        medians: [M] of the windows; best: index of the minimum. The highest median before the
            minimum is where the decrease is measured from.
        share: of the decrease, that may be lost again.
    """
    first, lowest = float(medians[: best + 1].max()), float(medians[best])
    return lowest + share * max(first - lowest, 1e-3 * abs(first))


def noise_of(values: Array) -> float:
    """Noise of the last two windows of values [N]: half the distance of two quantiles.

    The standard deviation of a normal distribution, which single spikes do not raise.
    """
    low, high = np.quantile(values[-2 * WINDOW :], NOISE_QUANTILES)
    return float(high - low) / 2


def wander_of(medians: Array) -> float:
    """Standard deviation by which medians of windows [M] leave a line; 0 of fewer than 8.

    From their second differences: neither a fall nor a rise counts, nor do single windows.
    """
    if len(medians) < MIN_MEDIANS:
        return 0.0
    bends = np.abs(np.diff(medians, 2))
    return float(np.median(bends)) / (0.6745 * 6**0.5)


def rise_start(values: Array, medians: Array, best: int, bound: float) -> int:
    """Index of the first value of a rise that lies between the minimum and the last windows.

    Args:
        values: [N]; medians: [M] of their windows, of which the last two are above the bound.
        best: index of the minimum of the medians; bound: as `rise_bound` gives it.
    """
    lowest = float(medians[best])
    calm = np.flatnonzero(medians[:-2] <= lowest + CALM_SHARE * (bound - lowest))[-1]
    first = len(values) % WINDOW + int(calm) * WINDOW
    # Clipped, so that an explosion begins where it leaves the usual values and not at its end.
    around = np.clip(values[first : first + 2 * WINDOW], lowest, bound)
    left = np.arange(1, len(around))
    right, sums = len(around) - left, np.cumsum(around)
    step = (sums[-1] - sums[:-1]) / right - sums[:-1] / left
    return first + 1 + int(np.argmax(left * right * step**2))


def did_harm(snapshot: Snapshot, step: int) -> bool:
    """Tell if the loss rose clearly after a change of controls, or is NaN or Inf since.

    The loss between the change and the next one is compared with that before the change, in the
    way of the rule `diverging`; with too few steps on a side the answer is no.

    Args:
        snapshot: with the series `loss`; step: the first step with the change.
    """
    failure = snapshot.status.failure
    later = [c.step for c in snapshot.changes if c.status == "applied" and c.step > step]
    if failure is not None and failure.kind == "non_finite" and not later:
        return failure.step >= step
    loss = snapshot.series.get("loss")
    end = min(later, default=snapshot.status.step)
    return loss is not None and rose(loss, step, end - step)


def rose(loss: Series, step: int, steps: int) -> bool:
    """Tell if the loss rose clearly in a number of steps from a step on."""
    before = loss.mean[loss.step < step]
    after = loss.mean[(loss.step >= step) & (loss.step < step + steps)]
    if len(before) < WINDOW or len(after) < MIN_POINTS or not np.isfinite(before).all():
        return False
    medians = window_medians(before)
    best = int(np.argmin(medians))
    # The later windows alone: a rise that is over did no lasting harm.
    windows = (after[-2 * WINDOW : -WINDOW], after[-WINDOW:])
    now = float(min(np.median(part) for part in windows if len(part)))
    return now > rise_bound(medians, best) and now - float(medians[best]) >= 2 * noise_of(before)
