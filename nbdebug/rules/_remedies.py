"""Remedies that several rules use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy
from nbdebug.rules.base import group_series

MAX_STEPS_AFTER_RAISE = 50
MAX_WARMUP_STEPS, WARMUP_STEPS, MIN_FULL_SHARE = 100, 200, 0.9
REINITIALISE = Remedy("Re-initialise the weights as He et al. (2015)", {"reinit": "he"})


def scale_lr(snapshot: Snapshot, factor: float) -> tuple[Remedy, ...]:
    """A learning rate multiplied by `factor`; no remedy if the current one is unknown."""
    each = {name: _scaled(snapshot, f"lr/{name}", factor) for name in snapshot.optimizers}
    lr = _scaled(snapshot, "lr", factor)
    if not min((lr, *each.values())) > 0 or 0.8 < factor < 1.25:
        return ()
    times = float(f"{max(factor, 1 / factor):.2g}")
    word = f"Raise the learning rate {times:g}-fold"
    if factor < 1:
        word = f"Divide the learning rate by {times:g}"
    return (Remedy(word, {"lr": each or lr}),)


def _scaled(snapshot: Snapshot, name: str, factor: float) -> float:
    return float(f"{snapshot.latest.get(name, 0.0) * factor:.3g}")


def previous_lr(snapshot: Snapshot, since: int) -> tuple[Remedy, ...]:
    """The learning rate before its last increase, if that was at most 50 steps from `since`."""
    for change in reversed(snapshot.changes):
        old, new = change.old, change.new
        raised = change.control == "lr" and change.status == "applied" and _is_raise(old, new)
        if raised and since - MAX_STEPS_AFTER_RAISE <= change.step <= since + MAX_STEPS_AFTER_RAISE:
            return (
                Remedy(f"Restore the learning rate from before step {change.step:,}", {"lr": old}),
            )
    return ()


def _is_raise(old: Any, new: Any) -> bool:
    """True if a learning rate, or that of any of several optimizers, was raised."""
    names = {name for value in (old, new) if isinstance(value, dict) for name in value} or {""}
    return any(_rate(new, name) > _rate(old, name) > 0 for name in names)


def _rate(value: Any, name: str) -> float:
    return float(value.get(name, 0.0) if isinstance(value, dict) else value)


def grad_norm_p90(snapshot: Snapshot) -> float:
    """90th percentile of the recorded gradient norms; NaN if there are none."""
    norms = snapshot.series.get("grad_norm")
    if norms is None or not np.isfinite(norms.mean).any():
        return math.nan
    return float(np.percentile(norms.mean[np.isfinite(norms.mean)], 90))


def clip_at_p90(snapshot: Snapshot) -> tuple[Remedy, ...]:
    """Clip the global norm at the 90th percentile of the recorded norms."""
    bound = grad_norm_p90(snapshot)
    settings = {"clip_mode": "norm", "clip_threshold": float(f"{bound:.3g}")}
    return (Remedy("Clip the gradient norm at its 90th percentile", settings),) if bound > 0 else ()


def warm_up(snapshot: Snapshot, since: int) -> tuple[Remedy, ...]:
    """A warm-up, where harm began in the first steps and the learning rate at its full value."""
    lr = snapshot.series.get("lr")
    if lr is None or not len(lr) or since > MAX_WARMUP_STEPS or snapshot.changed_at:
        return ()
    early = lr.last[lr.step <= since + MAX_WARMUP_STEPS]
    if not len(early) or not early[0] >= MIN_FULL_SHARE * float(early.max()) > 0:
        return ()
    text = f"Begin with a warm-up: the learning rate rises over the first {WARMUP_STEPS} steps"
    return (Remedy(text, {"warmup_steps": WARMUP_STEPS}),)


def lr_by_updates(snapshot: Snapshot, small: float, large: float) -> tuple[Remedy, ...]:
    """Another learning rate, where the updates relative to the weights speak for one.

    Args:
        small: median update ratio below which the rate is raised; large: above which it is
            lowered. Between them it is not at fault; where nothing was measured both are offered.
    """
    moved = [float(np.median(s.mean)) for s in group_series(snapshot, "update_ratio", 2).values()]
    ratio = float(np.median(moved)) if moved else np.nan
    if ratio < small:
        return (*scale_lr(snapshot, 100.0), *scale_lr(snapshot, 10.0))
    if ratio > large:
        return (*scale_lr(snapshot, 0.1), *scale_lr(snapshot, 0.01))
    return () if moved else (*scale_lr(snapshot, 10.0), *scale_lr(snapshot, 0.1))
