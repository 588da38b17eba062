"""Detects a clip threshold that is far above every gradient norm."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import clip_at_p90
from nbdebug.rules.base import Rule, downsampled


class ClippingNeverActive(Rule):
    """Clipping is on, but no gradient came near the threshold for hundreds of steps.

    With such a threshold clipping has no effect, not even on gradient spikes: a gradient of ten
    times the usual norm would not be clipped. Lower the threshold, or switch clipping off.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "clipping_never_active"
    title = "Clipping is never active"
    source = "nbdebug: the threshold is over 10 times the largest norm of 300 steps"
    needs = ("clipped", "clip_norm", "clip_limit")

    MIN_STEPS = 300
    MIN_THRESHOLD_RATIO = 10.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        clipped, norms = snapshot.series["clipped"], snapshot.series["clip_norm"]
        limits = snapshot.series["clip_limit"].mean[-self.MIN_STEPS :]
        threshold = float(limits.min(initial=np.inf))
        steps = int(norms.step[-1] - norms.step[0]) + 1 if len(norms) else 0
        if steps < self.MIN_STEPS or len(limits) < min(self.MIN_STEPS, len(norms)):
            return None
        largest = float(np.nanmax(norms.maximum, initial=0.0))
        if clipped.maximum.any() or not 0 < largest * self.MIN_THRESHOLD_RATIO < threshold < np.inf:
            return None
        seen = f"The largest norm of {steps:,} steps was {largest:.3g}; the threshold is "
        seen += f"{threshold:g}."
        usual = Remedy(
            "Lower the threshold to the largest norm so far",
            {"clip_threshold": float(f"{largest:.3g}")},
        )
        remedies = (
            usual,
            *clip_at_p90(snapshot),
            Remedy("Switch clipping off", {"clip_mode": "off"}),
        )
        value = largest / threshold
        return Symptom(
            value,
            1 / self.MIN_THRESHOLD_RATIO,
            int(norms.step[0]),
            seen,
            remedies,
            downsampled(norms.maximum),
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        norms = {"clip_norm": falling_loss(3.0, 1.0), "grad_norm": falling_loss(3.0, 1.0)}
        idle = {"clipped": np.zeros(400), **norms}
        return (
            example({**idle, "clip_limit": np.full(400, 1e3)}),
            example({**idle, "clip_limit": np.full(400, 5.0)}),
        )
