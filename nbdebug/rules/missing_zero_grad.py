"""Detects gradients that accumulate from step to step."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class MissingZeroGrad(Rule):
    """`zero_grad` did not clear all gradients, so old gradients are added to each new one.

    The `zero_grad` of the optimizer was overridden, or the optimizer does not hold all
    parameters. Each step then follows the sum of old gradients.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "missing_zero_grad"
    title = "Gradients are not cleared"
    severity = "error"
    source = "proof: gradients between zero_grad and the backward pass; TrainCheck"
    needs = ("left_gradient",)

    PATIENCE = 2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        left = snapshot.series["left_gradient"]
        if len(left) < self.PATIENCE or not left.minimum[-self.PATIENCE :].min() > 0:
            return None
        value = float(left.last[-1])
        seen = f"Before the backward pass there was already a gradient of norm {value:.3g}."
        remedies = (
            Remedy("Make zero_grad of the optimizer set all gradients to None or 0"),
            Remedy("Build the optimizer on all of model.parameters()"),
        )
        evidence = tuple(map(float, left.mean[-64:]))
        since = int(left.step[left.minimum > 0][0])
        return Symptom(value, 0.0, since, seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "left_gradient": [0.0, 1.0, 2.0, 3.0]}),
            example({**loss, "left_gradient": [0.0] * 4}),
        )
