"""Detects a loss that is still high after the first epochs, for which a cause is known."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS, look_into
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class LossStaysHigh(Rule):
    """The loss is still high after the first epochs, and something is known to be wrong.

    Many healthy trainings begin slowly or end at a high loss, so this is a finding only where
    another one explains it.

    False alarms: 1 of 144 healthy trainings.
    """

    name = "loss_stays_high"
    title = "The loss stays high"
    source = "nbdebug: at 40% of the first loss or more after 60 steps, with a cause"
    falls = True
    only_explained = True
    asks = WHY_NO_PROGRESS
    needs = ("loss",)

    MIN_STEPS, MIN_EPOCHS = 60, 2.0
    MAX_REMAINING_LOSS = 0.4

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        epoch = snapshot.latest.get("epoch", self.MIN_EPOCHS)
        if len(loss) < 40 or snapshot.status.step < self.MIN_STEPS or epoch < self.MIN_EPOCHS:
            return None
        first, now = float(np.median(loss.mean[:5])), float(np.median(loss.mean[-20:]))
        bound = self.MAX_REMAINING_LOSS * first
        if not first > 0 or not now > bound:
            return None
        seen = f"Median loss {now:.4g} over the last steps, {first:.4g} at the start."
        remedies = look_into(snapshot)
        return Symptom(now, bound, int(loss.step[0]), seen, remedies, downsampled(loss.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        noise = np.random.default_rng(0).normal(2.3, 0.1, 100)
        return example({"loss": noise}), example({"loss": falling_loss(2.3, 0.5, 100)})
