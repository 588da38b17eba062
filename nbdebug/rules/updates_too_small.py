"""Detects updates that are tiny compared with the weights."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, remaining_loss, weight_series


class UpdatesTooSmall(Rule):
    """Updates are tiny compared with the weights, and the loss has not decreased.

    All updates so far together have moved the weights by less than 4% of their norm, or each by
    less than 1e-5 of it. The learning rate is too small, or gradients are clipped or scaled down
    too far.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_too_small"
    title = "Updates far too small"
    source = "CS231n (about 1e-3); nbdebug: the sum of all updates and the loss condition"
    needs = ("update_ratio/*", "loss")
    wants = ("lr",)

    MIN_UPDATE_RATIO, MAX_LIMIT = 1e-5, 1e-4
    MIN_SUM, MIN_SUM_STEPS = 0.04, 150
    PATIENCE = 2
    MIN_REMAINING_LOSS, MIN_STILL_LOSS = 0.9, 0.95

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = weight_series(snapshot, "update_ratio", self.PATIENCE)
        if (
            not layers
            or remaining_loss(snapshot) < self.MIN_REMAINING_LOSS
            or snapshot.status.step < 100
        ):
            return None
        table = np.median(np.stack([one.mean for one in layers]), axis=0)
        limit = self._limit(snapshot)
        if table.max() > limit:
            return None
        value, since = float(table[-1]), int(layers[0].step[0])
        seen = f"A step changes the weights by {value:.2g} of their norm; 0.001 is usual."
        factor = 10.0 ** min(max(round(float(np.log10(1e-3 / max(value, 1e-9)))), 1), 6)
        remedies = (*scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 10))
        return Symptom(value, limit, since, seen, remedies, tuple(map(float, table)))

    def _limit(self, snapshot: Snapshot) -> float:
        """The ratio below which updates are too small: all together move the weights by 4%."""
        step = snapshot.status.step
        lr = snapshot.series.get("lr")
        rising = lr is not None and len(lr) > 1 and float(lr.last[-1]) > float(lr.last[0])
        still = remaining_loss(snapshot) >= self.MIN_STILL_LOSS
        if rising or not still or step < self.MIN_SUM_STEPS:
            return self.MIN_UPDATE_RATIO
        return min(max(self.MIN_UPDATE_RATIO, self.MIN_SUM / step), self.MAX_LIMIT)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat, falls = np.full(400, 2.3), falling_loss(2.3, 0.5)
        small = {"update_ratio/0.weight": np.full(9, 1e-7)}
        return example({"loss": flat, **small}), example({"loss": falls, **small})
