"""Detects layers in which most units are saturated."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import REINITIALISE, scale_lr
from nbdebug.rules.base import Rule, first_names, group_series, remaining_loss


class SaturatedUnits(Rule):
    """Most units of a tanh, sigmoid or softsign are saturated, and the loss hardly decreases.

    Near the limits of the activation the slope is almost 0, and so is the gradient that flows
    back. Large weights, unscaled inputs or steps that were too large saturate units.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "saturated_units"
    title = "Saturated units"
    source = "Glorot and Bengio (2010); TheDeepChecker (half of the units), gated by the loss"
    needs = ("saturated/*", "loss")

    MAX_SATURATED_SHARE = 0.5
    PATIENCE = 2
    MIN_REMAINING_LOSS = 0.7

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = group_series(snapshot, "saturated", self.PATIENCE)
        bad = {
            name: one
            for name, one in layers.items()
            if one.minimum.min() > self.MAX_SATURATED_SHARE
        }
        if not bad or remaining_loss(snapshot) < self.MIN_REMAINING_LOSS:
            return None
        worst = max(bad, key=lambda name: float(bad[name].last[-1]))
        value = float(bad[worst].last[-1])
        seen = f"{value:.0%} of the units of {worst} are saturated; layers: {first_names(bad)}."
        remedies = (
            REINITIALISE,
            Remedy("Use ReLU, which does not saturate", {"activation": "relu"}),
            *scale_lr(snapshot, 0.1),
        )
        evidence = tuple(map(float, snapshot.series[f"saturated/{worst}"].mean))
        return Symptom(
            value, self.MAX_SATURATED_SHARE, int(bad[worst].step[0]), seen, remedies, evidence,
            layers=tuple(bad),
        )  # fmt: skip

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat, falls = np.full(400, 2.3), falling_loss(2.3, 0.3)
        edges = {"saturated/1": np.full(4, 0.9)}
        return example({"loss": flat, **edges}), example({"loss": falls, **edges})
