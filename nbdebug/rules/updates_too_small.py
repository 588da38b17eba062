"""Detects updates that are tiny compared with the weights."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, remaining_loss, weight_series


class UpdatesTooSmall(Rule):
    """Updates are below 1e-5 of the norm of the weights, and the loss has not decreased.

    The learning rate is too small, or gradients are clipped or scaled down too far.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_too_small"
    title = "Updates far too small"
    source = "CS231n (about 1e-3); nbdebug: the threshold 1e-5 and the loss condition"
    needs = ("update_ratio/*", "loss")

    MIN_UPDATE_RATIO = 1e-5
    PATIENCE = 2
    MIN_REMAINING_LOSS = 0.9

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = weight_series(snapshot, "update_ratio", self.PATIENCE)
        if (
            not layers
            or remaining_loss(snapshot) < self.MIN_REMAINING_LOSS
            or snapshot.status.step < 100
        ):
            return None
        table = np.median(np.stack([one.mean for one in layers]), axis=0)
        if table.max() > self.MIN_UPDATE_RATIO:
            return None
        value, since = float(table[-1]), int(layers[0].step[0])
        seen = f"A step changes the weights by {value:.2g} of their norm; 0.001 is usual."
        factor = 10.0 ** min(max(round(float(np.log10(1e-3 / max(value, 1e-9)))), 1), 6)
        remedies = (*scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 10))
        return Symptom(
            value, self.MIN_UPDATE_RATIO, since, seen, remedies, tuple(map(float, table))
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat, falls = np.full(400, 2.3), falling_loss(2.3, 0.5)
        small = {"update_ratio/0.weight": np.full(9, 1e-7)}
        return example({"loss": flat, **small}), example({"loss": falls, **small})
