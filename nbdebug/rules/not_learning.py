"""Detects a loss that does not decrease."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS, look_into
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import lr_by_updates
from nbdebug.rules.base import Rule, downsampled


class NotLearning(Rule):
    """The loss of the last half of the steps is no lower than the loss of the first steps.

    The steps are too small or too large, the gradient does not reach the weights, or inputs and
    targets do not belong together.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "not_learning"
    title = "The loss does not decrease"
    source = "Karpathy's recipe; SageMaker's LossNotDecreasing made patient"
    falls = True
    asks = WHY_NO_PROGRESS
    needs = ("loss",)
    wants = ("update_ratio/*",)

    MIN_STEPS = 200
    MAX_REMAINING_LOSS = 0.97
    SMALL_UPDATE_RATIO, LARGE_UPDATE_RATIO = 3e-5, 3e-2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        if (
            len(loss) < 40
            or loss.step[-1] < self.MIN_STEPS
            or snapshot.latest.get("epoch", 1.0) < 1
        ):
            return None
        first = float(np.median(loss.mean[:5]))
        half = loss.mean[len(loss) // 2 :]
        # Medians, because short last batches can have a loss of many times the usual one.
        value = float(np.median(half))
        error = 1.86 * float(np.median(np.abs(half - value))) / np.sqrt(len(half))
        bound = first - (1 - self.MAX_REMAINING_LOSS) * abs(first)
        if not np.isfinite(value) or value + 2 * error < bound or value < 1e-3:
            return None
        seen = f"Median loss {value:.4g} over the last half of the steps, {first:.4g} at the start."
        return Symptom(
            value, bound, int(loss.step[0]), seen, self._remedies(snapshot), downsampled(loss.mean)
        )

    def _remedies(self, snapshot: Snapshot) -> tuple[Remedy, ...]:
        rates = lr_by_updates(snapshot, self.SMALL_UPDATE_RATIO, self.LARGE_UPDATE_RATIO)
        return (*look_into(snapshot), *rates) if len(rates) < 2 else (*rates, *look_into(snapshot))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        noise = np.random.default_rng(0).normal(2.3, 0.1, 400)
        return example({"loss": noise}), example({"loss": falling_loss(2.3, 0.5)})
