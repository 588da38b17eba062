"""A clip threshold that no gradient ever comes near."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import clip_at_p90
from nbdebug.rules.base import Rule, shown


class ClippingNeverActive(Rule):
    """Clipping is on, and in hundreds of steps no gradient came near its threshold.

    It does nothing then, not even against the spike it was meant for: one of ten times the usual
    size would pass.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "clipping_never_active"
    title = "Clipping never cuts anything"
    source = "nbdebug: the threshold is over 10 times the largest norm of 300 steps"
    needs = ("clipped", "clip_norm", "clip_limit")

    STEPS = 300
    TIMES = 10.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        clipped, norms = snapshot.series["clipped"], snapshot.series["clip_norm"]
        limits = snapshot.series["clip_limit"].mean[-self.STEPS :]
        threshold = float(limits.min(initial=np.inf))
        steps = int(norms.step[-1] - norms.step[0]) + 1 if len(norms) else 0
        if steps < self.STEPS or len(limits) < min(self.STEPS, len(norms)):
            return None
        largest = float(np.nanmax(norms.maximum, initial=0.0))
        if clipped.maximum.any() or not 0 < largest * self.TIMES < threshold < np.inf:
            return None
        seen = f"The largest norm of {steps:,} steps was {largest:.3g}, the threshold is "
        seen += f"{threshold:g}."
        usual = Remedy(
            "Clip what is larger than all there was", {"clip_threshold": float(f"{largest:.3g}")}
        )
        remedies = (usual, *clip_at_p90(snapshot), Remedy("No clipping", {"clip_mode": "off"}))
        value = largest / threshold
        return Symptom(
            value, 1 / self.TIMES, int(norms.step[0]), seen, remedies, shown(norms.maximum)
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        norms = {"clip_norm": falling(3.0, 1.0), "grad_norm": falling(3.0, 1.0)}
        idle = {"clipped": np.zeros(400), **norms}
        return (
            example({**idle, "clip_limit": np.full(400, 1e3)}),
            example({**idle, "clip_limit": np.full(400, 5.0)}),
        )
