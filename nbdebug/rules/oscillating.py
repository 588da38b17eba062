"""Detects a loss that alternates from step to step."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, downsampled


class Oscillating(Rule):
    """The loss alternates between higher and lower values from step to step.

    Each step jumps across the minimum to the other side. Random differences between batches do
    not alternate: the correlation of successive losses is then near 0.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "oscillating"
    title = "The loss oscillates"
    source = "nbdebug; lag-1 autocorrelation of the loss"
    falls = True
    needs = ("loss",)
    wants = ("overshoot",)

    RECENT_STEPS = 60
    MIN_CORRELATION = -0.75
    MAX_OVERSHOOT = 0.3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        # Buckets of several steps average the oscillation away.
        if len(loss) < self.RECENT_STEPS or loss.count[-self.RECENT_STEPS :].max() > 1:
            return None
        recent = loss.mean[-self.RECENT_STEPS :]
        if not np.isfinite(recent).all():
            return None
        around = recent - np.convolve(np.pad(recent, 2, "edge"), np.full(5, 0.2), "valid")
        size = float(around @ around)
        if size < 1e-12 * float(recent @ recent):
            return None
        value = float(around[1:] @ around[:-1]) / size
        if value > self.MIN_CORRELATION:
            return None
        since = int(loss.step[-self.RECENT_STEPS])
        seen = (
            f"The correlation of successive losses is {value:.2f} over {self.RECENT_STEPS} steps."
        )
        beyond = self._beyond(snapshot)
        factor = 0.25
        if beyond > self.MAX_OVERSHOOT:
            seen += " The step size is the cause: along a step the loss falls and rises again; "
            seen += f"the final slope is {beyond:.2f} times the initial one."
            # A step of this size ends at the minimum of the parabola.
            factor = float(f"{1 / (1 + beyond):.2g}")
        remedies = (*scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 4))
        return Symptom(value, self.MIN_CORRELATION, since, seen, remedies, downsampled(recent))

    def _beyond(self, snapshot: Snapshot) -> float:
        """Median overshoot of the last steps; NaN if there is none."""
        series = snapshot.series.get("overshoot")
        known = series.mean[np.isfinite(series.mean)][-10:] if series is not None else ()
        return float(np.median(known)) if len(known) else np.nan

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling_loss(2.3, 0.5)
        jumps = calm + 0.5 * (-1.0) ** np.arange(400)
        return example({"loss": jumps, "overshoot": np.full(40, 0.9)}), example({"loss": calm})
