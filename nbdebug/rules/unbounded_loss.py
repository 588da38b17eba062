"""Detects a loss that falls far below 0, faster and faster."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class UnboundedLoss(Rule):
    """The loss has fallen far below 0 and falls ever faster: nothing bounds it from below.

    Such a loss does not measure an error. Its sign is wrong, as in `loss = -criterion(...)`; it is
    made for log-probabilities and gets raw outputs, as `nll_loss` without `log_softmax`; or targets
    lie outside of its range, as values above 1 for binary cross-entropy.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "unbounded_loss"
    title = "The loss falls without bound"
    source = (
        "nbdebug: 20 times its first size below 0, each quarter of the steps as steep as the last"
    )
    harms = True
    falls = True
    asks = WHY_NO_PROGRESS
    needs = ("loss",)

    MIN_POINTS = 100
    MIN_SIZES = 20.0
    MIN_KEPT_SLOPE = 0.9

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        if len(loss) < self.MIN_POINTS or not np.isfinite(loss.mean).all():
            return None
        parts = np.array_split(loss.mean, 5)
        level = np.array([float(np.median(part)) for part in parts])
        drops = level[:-1] - level[1:]
        first, now = float(np.median(loss.mean[:5])), float(np.median(loss.mean[-5:]))
        bound = first - self.MIN_SIZES * (1.0 + abs(first))
        steeper = drops[1:] >= self.MIN_KEPT_SLOPE * drops[:-1]
        if now >= min(bound, 0.0) or not (drops > 0).all() or not steeper.all():
            return None
        below = np.flatnonzero(loss.mean < min(0.0, first))
        since = int(loss.step[below[0]])
        seen = f"The loss is {now:.4g}, after {first:.4g} at the start, and falls ever faster."
        remedies = (
            Remedy("Check the sign of the loss, and that it gets what it is made for: logits, "
                   "log-probabilities, targets from 0 to 1"),
            Remedy("Show what the loss asks for: dbg.check('loss_optimum', 'output_activation')"),
        )  # fmt: skip
        return Symptom(now, bound, since, seen, remedies, downsampled(loss.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        steps = np.arange(400.0)
        return example({"loss": 2.3 - (steps / 10) ** 2}), example(
            {"loss": falling_loss(2.3, 0.5) - 3.0}
        )
