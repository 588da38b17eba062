"""Detects updates that go along the gradient instead of against it."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class ClimbingUpdates(Rule):
    """Every update goes along the gradient, so that it raises the loss instead of lowering it.

    The optimizer maximizes (`maximize=True`), or its code adds what it is to subtract. It is an
    error for a loss whose best value is known (cross-entropy, mean squared error). An objective
    that is to rise is none, and then its rise is no symptom either.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "climbing_updates"
    title = "The updates climb the loss"
    severity = "error"
    source = "proof for known losses: update and gradient point the same way in all measured steps"
    harms = True
    needs = ("uphill", "loss")
    wants = ("constant_loss",)

    PATIENCE = 8
    MIN_SHARE = 0.99

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        uphill, loss = snapshot.series["uphill"], snapshot.series["loss"]
        uphill = uphill.part(uphill.step >= snapshot.changed_at)
        last = uphill.mean[-self.PATIENCE :]
        if len(last) < self.PATIENCE or not last.min() >= self.MIN_SHARE or len(loss) < 20:
            return None
        first, now = float(np.median(loss.mean[:5])), float(np.median(loss.mean[-5:]))
        constant = snapshot.series.get("constant_loss")
        known = constant is not None and bool(np.isfinite(constant.last).any())
        if not now > first or not (known or first > 0):
            return None
        since = int(uphill.step[0])
        seen = (
            f"The update went along the gradient, not against it, in each of the last {len(last)} "
        )
        seen += f"measured steps; the loss rose from {first:.3g} to {now:.3g}."
        remedies = (
            Remedy("Build the optimizer with maximize=False"),
            Remedy("In an optimizer of your own, subtract lr times the gradient from the weights"),
        )
        severity = None if known else "warning"
        return Symptom(now, first, since, seen, remedies, downsampled(loss.mean), severity)  # type: ignore[arg-type]

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        constant = {"constant_loss": np.full(20, 2.303)}
        rises = {"loss": np.linspace(2.3, 30.0, 400), **constant}
        falls = {"loss": falling_loss(2.3, 0.5), **constant}
        return example({**rises, "uphill": np.ones(40)}), example({**falls, "uphill": np.zeros(40)})
