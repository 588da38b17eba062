"""Detects a model that gives the same output for every input."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import REINITIALISE, scale_lr
from nbdebug.rules.base import Rule

TRACE = Remedy(
    "Follow two samples through forward: behind a mask, an index or a product they are equal"
)


class ConstantOutput(Rule):
    """The model has collapsed: the outputs are the same for every sample.

    Some layer gives a constant: all its units are dead or saturated, its weights are all 0, or
    the inputs do not reach the layer. Almost no gradient flows back through such a layer.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "constant_output"
    title = "The same output for every sample"
    source = "nbdebug: a spread under 1e-6 of 1 + |mean| over the batch; 0 of 200 healthy models"
    asks = WHY_NO_PROGRESS
    needs = ("output_spread",)

    MIN_SPREAD = 1e-6
    PATIENCE = 2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        spread = snapshot.series["output_spread"]
        if (
            len(spread) < self.PATIENCE
            or not spread.maximum[-self.PATIENCE :].max() <= self.MIN_SPREAD
        ):
            return None
        value = float(spread.last[-1])
        seen = f"Within a batch, outputs differ by {value:.2g} of their size."
        known = spread.mean > self.MIN_SPREAD
        remedies = (
            REINITIALISE,
            Remedy("Use LeakyReLU, which has no dead region", {"activation": "leaky_relu"}),
            *scale_lr(snapshot, 0.1),
        )
        if not known.any():
            # It never was otherwise, so no step did it.
            remedies = (TRACE, REINITIALISE)
        since = int(spread.step[np.flatnonzero(known)[-1] if known.any() else 0])
        evidence = tuple(map(float, spread.mean[-64:]))
        return Symptom(value, self.MIN_SPREAD, since, seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "output_spread": np.zeros(4)}),
            example({**loss, "output_spread": np.full(4, 0.2)}),
        )
