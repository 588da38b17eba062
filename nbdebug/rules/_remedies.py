"""Remedies that several rules use."""

from __future__ import annotations

import math

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy

MAX_STEPS_AFTER_RAISE = 50
REINITIALISE = Remedy("Re-initialise the weights as He et al. (2015)", {"reinit": "he"})


def scale_lr(snapshot: Snapshot, factor: float) -> tuple[Remedy, ...]:
    """A learning rate multiplied by `factor`; no remedy if the current one is unknown."""
    lr = float(f"{snapshot.latest.get('lr', 0.0) * factor:.3g}")
    if not lr > 0:
        return ()
    times = float(f"{max(factor, 1 / factor):.2g}")
    word = f"Raise the learning rate {times:g}-fold"
    if factor < 1:
        word = f"Divide the learning rate by {times:g}"
    return (Remedy(word, {"lr": lr}),)


def previous_lr(snapshot: Snapshot, since: int) -> tuple[Remedy, ...]:
    """The learning rate before its last increase, if that was at most 50 steps from `since`."""
    for change in reversed(snapshot.changes):
        old, new = change.old, change.new
        raised = change.control == "lr" and change.status == "applied" and new > old > 0
        if raised and since - MAX_STEPS_AFTER_RAISE <= change.step <= since + MAX_STEPS_AFTER_RAISE:
            return (
                Remedy(f"Restore the learning rate from before step {change.step:,}", {"lr": old}),
            )
    return ()


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
