"""Detects a gradient that is far larger than the gradients before."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import clip_at_p90, scale_lr
from nbdebug.rules.base import Rule, downsampled


class GradientSpike(Rule):
    """One of the last gradients is far larger than all before, and the loss has risen since.

    The cause is a batch with unusual samples, or a step that was too large. The finding is
    removed 50 steps later.

    False alarms: 1 of 144 healthy trainings.
    """

    name = "gradient_spike"
    title = "Gradient spike"
    source = (
        "median + 6 MAD of log10, as Google's tuning playbook plots it, and 30 times the median"
    )
    harms = True
    needs = ("grad_norm", "loss")

    BASELINE_STEPS = 200
    RECENT_STEPS = 50
    MIN_BASELINE_STEPS = 100
    MAX_RECORD_RATIO = 2.0
    MIN_LOSSES = 5
    MIN_LOSS_RISE = 0.1
    MAX_MADS = 6.0
    MAX_MEDIAN_RATIO = 30.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        norms = snapshot.series["grad_norm"]
        if len(norms) < self.RECENT_STEPS + self.MIN_BASELINE_STEPS:
            return None
        recent = norms.maximum[-self.RECENT_STEPS :]
        before = norms.mean[: -self.RECENT_STEPS][-self.BASELINE_STEPS :]
        before = before[before > 0]
        if not len(before) or not np.isfinite(recent).any():
            return None
        middle = float(np.median(before))
        logs = np.log10(before)
        mad = float(np.median(np.abs(logs - np.median(logs))))
        # Short last batches cause spikes too, but in every epoch.
        highest = self.MAX_RECORD_RATIO * float(np.nanmax(norms.maximum[: -self.RECENT_STEPS]))
        bound = max(middle * 10 ** (self.MAX_MADS * mad), middle * self.MAX_MEDIAN_RATIO, highest)
        place = int(np.nanargmax(recent))
        value = float(recent[place])
        since = int(norms.step[len(norms) - self.RECENT_STEPS + place])
        if value <= bound or not self._harmed(snapshot.series["loss"], since):
            return None
        seen = f"Gradient norm {value:.3g} at step {since:,}; the median before was {middle:.3g}."
        remedies = (*clip_at_p90(snapshot), *scale_lr(snapshot, 0.3))
        return Symptom(
            value, bound, since, seen, remedies, downsampled(norms.maximum[-self.BASELINE_STEPS :])
        )

    def _harmed(self, loss: Series, step: int) -> bool:
        """True if the loss was higher after the step, by a tenth of the initial loss."""
        after = loss.mean[loss.step > step][: self.RECENT_STEPS]
        before = loss.mean[loss.step <= step][-self.RECENT_STEPS :]
        if len(after) < self.MIN_LOSSES or len(before) < self.MIN_LOSSES:
            return False
        worse = float(np.median(after) - np.median(before))
        return worse > self.MIN_LOSS_RISE * abs(float(np.median(loss.mean[:5])))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        spiky = falling_loss(1.0, 0.5)
        spiky[-9] = 90.0
        harmed = falling_loss(1.0, 0.5)
        harmed[-8:] = 2.0
        return (
            example({"grad_norm": spiky, "loss": harmed}),
            example({"grad_norm": spiky, "loss": falling_loss(1.0, 0.5)}),
        )
