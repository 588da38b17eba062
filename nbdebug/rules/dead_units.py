"""Detects layers in which most units are dead."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import REINITIALISE, scale_lr
from nbdebug.rules.base import Rule, first_names, group_series, remaining_loss


class DeadUnits(Rule):
    """Most units of a layer output 0 for almost every sample.

    A step that was too large moved the inputs of these units below 0, where ReLU has no
    gradient, so the units cannot recover. A unit counts as dead if the 95th percentile of its
    absolute output over at least 512 samples is below 1e-5.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "dead_units"
    title = "Dead units"
    source = "TheDeepChecker (p95 under 1e-5 for half of the units)"
    needs = ("dead/*",)
    wants = ("loss",)

    MAX_DEAD_SHARE = 0.6
    MIN_REMAINING_LOSS = 0.7
    PATIENCE = 1

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = group_series(snapshot, "dead", self.PATIENCE)
        dead = {
            name: one for name, one in layers.items() if one.minimum.min() > self.MAX_DEAD_SHARE
        }
        if not dead:
            return None
        worst = max(dead, key=lambda name: float(dead[name].last[-1]))
        value = float(dead[worst].last[-1])
        seen = f"{value:.0%} of the units of {worst} are dead; layers: {first_names(dead)}."
        leaky = Remedy("Use LeakyReLU, which has no dead region", {"activation": "leaky_relu"})
        # If nothing has been learnt yet, new weights lose nothing.
        lost = (
            snapshot.series.get("loss") is not None
            and remaining_loss(snapshot) > self.MIN_REMAINING_LOSS
        )
        remedies = (
            (REINITIALISE, leaky, *scale_lr(snapshot, 0.1))
            if lost
            else (leaky, *scale_lr(snapshot, 0.1), REINITIALISE)
        )
        since = int(dead[worst].step[0])
        evidence = tuple(map(float, snapshot.series[f"dead/{worst}"].mean))
        return Symptom(
            value, self.MAX_DEAD_SHARE, since, seen, remedies, evidence, layers=tuple(dead)
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "dead/1": np.full(4, 0.9)}),
            example({**loss, "dead/1": np.full(4, 0.3)}),
        )
