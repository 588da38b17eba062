"""Remedies that several rules offer."""

from __future__ import annotations

import math

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy

SHORTLY = 50
REDRAW = Remedy("Draw the weights anew, as He et al. (2015)", {"reinit": "he"})


def scale_lr(snapshot: Snapshot, factor: float) -> tuple[Remedy, ...]:
    """Another learning rate; none where the one in force is not known."""
    lr = float(f"{snapshot.latest.get('lr', 0.0) * factor:.3g}")
    if not lr > 0:
        return ()
    times = float(f"{max(factor, 1 / factor):.2g}")
    word = f"{times:g} times {'as large' if factor >= 1 else 'smaller'}"
    return (Remedy(f"A learning rate {word}", {"lr": lr}),)


def as_before(snapshot: Snapshot, since: int) -> tuple[Remedy, ...]:
    """The learning rate before the last raise of it, when that came shortly before a step."""
    for change in reversed(snapshot.changes):
        old, new = change.old, change.new
        raised = change.control == "lr" and change.status == "applied" and new > old > 0
        if raised and since - SHORTLY <= change.step <= since + SHORTLY:
            return (Remedy(f"The learning rate from before step {change.step:,}", {"lr": old}),)
    return ()


def p90(snapshot: Snapshot) -> float:
    """The 90th percentile of the gradient norms there were; NaN without one."""
    norms = snapshot.series.get("grad_norm")
    if norms is None or not np.isfinite(norms.mean).any():
        return math.nan
    return float(np.percentile(norms.mean[np.isfinite(norms.mean)], 90))


def clip_at_p90(snapshot: Snapshot) -> tuple[Remedy, ...]:
    """Clip by the norm, at the 90th percentile of the norms there were."""
    bound = p90(snapshot)
    settings = {"clip_mode": "norm", "clip_threshold": float(f"{bound:.3g}")}
    return (Remedy("Clip the gradient at its 90th percentile", settings),) if bound > 0 else ()
