"""Layers most of whose units are silent."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import REDRAW, scale_lr
from nbdebug.rules.base import Rule, group, listed, progress


class DeadUnits(Rule):
    """Most units of a layer give 0 for practically every sample.

    A step that was too large pushed their inputs below 0, where ReLU has no gradient: they
    cannot come back. A unit is dead where the 95th percentile of its output over at least 512
    samples is under 1e-5.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "dead_units"
    title = "Dead units"
    source = "TheDeepChecker (p95 under 1e-5 for half of the units)"
    needs = ("dead/*",)
    wants = ("loss",)

    SHARE = 0.6
    FLAT = 0.7
    LAST = 1

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = group(snapshot, "dead", self.LAST)
        dead = {name: one for name, one in layers.items() if one.minimum.min() > self.SHARE}
        if not dead:
            return None
        worst = max(dead, key=lambda name: float(dead[name].last[-1]))
        value = float(dead[worst].last[-1])
        seen = f"{value:.0%} of the units of {worst} are dead; most are in: {listed(dead)}."
        leaky = Remedy("A function without a dead side", {"activation": "leaky_relu"})
        # Where nothing was learnt yet, nothing is lost by beginning again.
        lost = snapshot.series.get("loss") is not None and progress(snapshot) > self.FLAT
        remedies = (
            (REDRAW, leaky, *scale_lr(snapshot, 0.1))
            if lost
            else (leaky, *scale_lr(snapshot, 0.1), REDRAW)
        )
        since = int(dead[worst].step[0])
        evidence = tuple(map(float, snapshot.series[f"dead/{worst}"].mean))
        return Symptom(value, self.SHARE, since, seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling(2.3, 0.5)}
        return (
            example({**loss, "dead/1": np.full(4, 0.9)}),
            example({**loss, "dead/1": np.full(4, 0.3)}),
        )
