"""Texts of a plot that has nothing to draw."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array

REASONS = {"non_finite": " (NaN or Inf)", "exception": " (an exception)"}


def not_yet(snapshot: Snapshot, what: str) -> str:
    """Text for a plot of what was not measured so far.

    Args:
        what: the plot shows, such as "the loss".
    """
    status, failure = snapshot.status, snapshot.status.failure
    if failure is not None:
        why = REASONS.get(failure.kind, "")
        return f"Training stopped at step {failure.step:,}{why} before it measured {what}."
    if status.state == "closed":
        return f"Training was closed before it measured {what}."
    return f"Waiting for {what}." if status.state == "running" else f"Press Run to see {what}."


def why_empty(values: Array, unmeasured: str, log: bool = False) -> str:
    """Text for a plot of values [B] of which none can be drawn; "" if one can.

    Args:
        unmeasured: the text if there are no values; log: the axis is logarithmic.
    """
    if not len(values):
        return unmeasured
    known = values[np.isfinite(values)]
    if not len(known):
        return "NaN or Inf at every step."
    return "0 at every step." if log and not (known > 0).any() else ""
