"""Detects a loss that decreases very slowly."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, downsampled, weight_series


class TooSlow(Rule):
    """The loss decreases steadily, but each step changes the weights very little.

    Training would need many times as many steps. The learning rate is small, or a schedule has
    lowered the learning rate too early.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "too_slow"
    title = "Training is slow"
    source = "AutoTrainer (slow convergence); nbdebug: updates under 3e-4, loss still decreasing"
    falls = True
    needs = ("loss", "update_ratio/*")

    MIN_UPDATE_RATIO = 3e-4
    MIN_STEPS = 200
    MIN_REMAINING_LOSS = 0.8
    MIN_STANDARD_ERRORS = 4.0
    PATIENCE = 2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        layers = weight_series(snapshot, "update_ratio", self.PATIENCE)
        if not layers or len(loss) < 40 or snapshot.status.step < self.MIN_STEPS:
            return None
        ratio = float(np.max([np.median(one.mean) for one in layers]))
        first = float(np.median(loss.mean[:5]))
        left = float(np.median(loss.mean[-len(loss) // 4 :])) / first if first > 0 else 0.0
        if ratio > self.MIN_UPDATE_RATIO or left < self.MIN_REMAINING_LOSS or not self._falls(loss):
            return None
        seen = f"A step changes the weights by {ratio:.2g} of their norm; after "
        seen += f"{snapshot.status.step:,} steps the loss is at {left:.0%} and still decreases."
        factor = 10.0 if ratio > 3e-5 else 100.0
        remedies = (*scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 3))
        return Symptom(ratio, self.MIN_UPDATE_RATIO, 0, seen, remedies, downsampled(loss.mean))

    def _falls(self, loss: Series) -> bool:
        """True if a line fitted to the loss decreases significantly."""
        steps, losses = loss.step - loss.step.mean(), loss.mean - loss.mean.mean()
        slope = float(steps @ losses) / float(steps @ steps)
        rest = losses - slope * steps
        error = np.sqrt(float(rest @ rest) / (len(steps) - 2) / float(steps @ steps))
        return bool(slope < -self.MIN_STANDARD_ERRORS * error)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        small = {"update_ratio/0.weight": np.full(9, 2e-5)}
        slow = np.linspace(2.3, 2.2, 400)
        return example({"loss": slow, **small}), example({"loss": falling_loss(2.3, 0.5), **small})
