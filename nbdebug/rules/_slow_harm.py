"""Harm of a change that shows slowly: the loss creeps up, or a decrease ends with the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, ControlChange
from nbdebug.core.series import Series
from nbdebug.rules._loss_rise import WINDOW, window_medians

# These raise the training loss by intention: only the validation loss tells of harm.
REGULARISING = frozenset({"dropout", "weight_decay", "mode", "layer_order"})
# These change what a loss is, or begin again.
NOT_COMPARABLE = frozenset({"reinit", "excluded_samples", "relabelled", "left_out"})
MIN_AFTER, TREND = 80, 40
MIN_RISE_SHARE, MIN_VAL_RISE_SHARE = 0.1, 0.2
MAX_STEPS_BETWEEN = 200
MIN_STANDARD_ERRORS, MIN_TREND_ERRORS = 4.0, 6.0
# Of the decrease that the trend promised, and of the first loss.
MAX_KEPT_SHARE, MAX_FALL_SHARE = 0.1, 0.35
MIN_LEFT_SHARE, MIN_DROP_SHARE = 0.1, 0.05
MIN_VALIDATIONS = 3


@dataclass(frozen=True)
class Edit:
    """Changes of one control that go on in one direction, as one.

    Attributes:
        first, last: changes; until: the step of the next change of any control, or now.
    """

    first: ControlChange
    last: ControlChange
    until: int


def edits(snapshot: Snapshot) -> Iterator[Edit]:
    """Edits that are in force, the latest first."""
    made = [c for c in snapshot.changes if c.status == "applied" and c.kind == "control"]
    seen: set[str] = set()
    for change in reversed(made):
        if change.control in seen:
            continue
        seen.add(change.control)
        mine = [c for c in made if c.control == change.control and c.step <= change.step]
        later = [c.step for c in made if c.step > change.step]
        yield Edit(_first_of(mine), change, min(later, default=snapshot.status.step))


def slow_harm(snapshot: Snapshot, edit: Edit) -> str:
    """Tell in words how a loss is worse since an edit than it was before; "" if it is not."""
    control = edit.first.control
    if control in NOT_COMPARABLE or edit.first.step <= 0:
        return ""
    val, loss = snapshot.series.get("val_loss"), snapshot.series["loss"]
    if control in REGULARISING and val is not None and len(val):
        return _worse_validation(val, edit)
    if control == "dropout":
        return ""
    before = loss.part(loss.step < edit.first.step)
    after = loss.part((loss.step >= edit.last.step) & (loss.step < max(edit.until, 1)))
    known = np.isfinite(before.mean).all() and np.isfinite(after.mean).all()
    if not known or len(before) < TREND or len(after) < MIN_AFTER:
        return ""
    return _rise(before, after) or _stall(before, after)


def _first_of(changes: Sequence[ControlChange]) -> ControlChange:
    """First of the last changes of one control that follow each other in one direction."""
    first = changes[-1]
    for change in reversed(changes[:-1]):
        steps = first.step - change.step
        if steps > MAX_STEPS_BETWEEN or _sign(change) != _sign(changes[-1]):
            break
        first = change
    return first


def _sign(change: ControlChange) -> float:
    old, new = _number(change.old), _number(change.new)
    return float(np.sign(new - old)) if np.isfinite(old) and np.isfinite(new) else 0.0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _rise(before: Series, after: Series) -> str:
    """The loss stays above where it was, by a clear part of its earlier decrease."""
    past, rest = float(np.median(before.mean[-WINDOW:])), after.mean[len(after) // 2 :]
    halves = np.array_split(rest, 2)
    now = min(float(np.median(half)) for half in halves)
    first = float(window_medians(before.mean).max())
    error = np.hypot(_error(before.mean[-TREND:]), _error(rest))
    bound = past + max(MIN_RISE_SHARE * (first - past), MIN_STANDARD_ERRORS * error)
    # A loss that comes down again has not settled.
    slope, slope_error = _slope(after.part(np.arange(len(after)) >= len(after) // 2))
    if now <= bound or slope < -3 * slope_error:
        return ""
    return f"the median loss is now {now:.3g}; before the change it was {past:.3g}."


def _stall(before: Series, after: Series) -> str:
    """The loss fell steadily up to the change, and has not fallen since."""
    trend = before.part(np.arange(len(before)) >= len(before) - TREND)
    slope, error = _slope(trend)
    first, past = float(window_medians(before.mean).max()), float(np.median(trend.mean[-WINDOW:]))
    span = float(trend.step[-1] - trend.step[0])
    drop = -slope * span
    steady = slope < -MIN_TREND_ERRORS * error and drop > MIN_DROP_SHARE * abs(first)
    since = float(after.step[-1] - after.step[0])
    if not steady or past < MIN_LEFT_SHARE * first or since < 2 * span:
        return ""
    now = float(np.median(after.mean[-len(after) // 3 :]))
    kept = float(np.median(after.mean[:WINDOW])) - now
    # A change that lowers the noise lets the loss fall at once, and no more.
    at_once = float(np.median(trend.mean[-WINDOW // 2 :])) - now
    if kept >= MAX_KEPT_SHARE * drop or at_once >= MAX_FALL_SHARE * drop:
        return ""
    return (
        f"the loss fell by {drop:.3g} in the {span:,.0f} steps before, and by {max(kept, 0.0):.3g} "
        f"in the {since:,.0f} steps since."
    )


def _worse_validation(val: Series, edit: Edit) -> str:
    """The validation loss has become worse with the change, and stays so."""
    past = val.mean[val.step < edit.first.step]
    now = val.mean[(val.step >= edit.last.step) & (val.step < max(edit.until, 1))]
    if len(past) < 2 or len(now) < MIN_VALIDATIONS or not np.isfinite([*past, *now]).all():
        return ""
    last, least = float(past[-1]), float(now[-MIN_VALIDATIONS:].min())
    noise = float(np.abs(np.diff(past[-5:])).max())
    falls = now[-1] < now[-MIN_VALIDATIONS:].max() - noise / 2
    if falls or least <= last + max(MIN_VAL_RISE_SHARE * (float(past.max()) - last), 2 * noise):
        return ""
    return f"the validation loss is now {least:.3g}; before the change it was {last:.3g}."


def _slope(series: Series) -> tuple[float, float]:
    """Slope of a line fitted to the loss over steps, and its standard error."""
    steps, losses = series.step - series.step.mean(), series.mean - series.mean.mean()
    squares = float(steps @ steps)
    slope = float(steps @ losses) / squares
    rest = losses - slope * steps
    return slope, float(np.sqrt(float(rest @ rest) / max(len(steps) - 2, 1) / squares))


def _error(values: Array) -> float:
    """Standard error of the median of values [N], from two quantiles."""
    low, high = np.quantile(values, (0.159, 0.841))
    return 1.25 * float(high - low) / 2 / float(np.sqrt(len(values)))
