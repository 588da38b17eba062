"""Layers whose units lie at the end of their range."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import REDRAW, scale_lr
from nbdebug.rules.base import Rule, group, listed, progress


class SaturatedUnits(Rule):
    """Most units of a tanh, sigmoid or softsign are at the end of their range, and nothing is won.

    The slope there is next to 0, and so is the gradient that passes. Large weights, inputs that
    are not scaled, or steps that were too large push them there.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "saturated_units"
    title = "Saturated units"
    source = "Glorot and Bengio (2010); TheDeepChecker (half of the units), gated by the loss"
    needs = ("saturated/*", "loss")

    SHARE = 0.5
    LAST = 2
    FALLEN = 0.7

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = group(snapshot, "saturated", self.LAST)
        bad = {name: one for name, one in layers.items() if one.minimum.min() > self.SHARE}
        if not bad or progress(snapshot) < self.FALLEN:
            return None
        worst = max(bad, key=lambda name: float(bad[name].last[-1]))
        value = float(bad[worst].last[-1])
        seen = f"{value:.0%} of the units of {worst} are saturated; most are in: {listed(bad)}."
        remedies = (
            REDRAW,
            Remedy("ReLU in place of functions that saturate", {"activation": "relu"}),
            *scale_lr(snapshot, 0.1),
        )
        evidence = tuple(map(float, snapshot.series[f"saturated/{worst}"].mean))
        return Symptom(value, self.SHARE, int(bad[worst].step[0]), seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat, falls = np.full(400, 2.3), falling(2.3, 0.3)
        edges = {"saturated/1": np.full(4, 0.9)}
        return example({"loss": flat, **edges}), example({"loss": falls, **edges})
