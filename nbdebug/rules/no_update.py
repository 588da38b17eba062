"""Detects a loop that computes gradients and never updates the weights."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import NoUpdate
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class NoUpdateAtAll(Rule):
    """The loop goes through its batches, and the watched optimizer makes no update.

    `optimizer.step()` is missing or not reached, or the loop steps another optimizer than the one
    that is watched. Backward passes alone change no weight.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "no_update"
    title = "The optimizer makes no update"
    severity = "error"
    source = "PyTorch, Optimizer.step; proof: 100 batches, or a whole loop, without one"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(NoUpdate)
        if found is None or snapshot.status.step > found.step:
            return None
        seen = f"The loop went through {found.batches:,} batches without an update of the watched "
        seen += "optimizer, so that its weights do not change."
        remedies = (
            Remedy("Call optimizer.step() after loss.backward(), in each step"),
            Remedy("Pass the optimizer whose step() the loop calls to nbd.watch"),
        )
        return Symptom(float(found.batches), 0.0, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        found = [NoUpdate(0, 100)]
        return example({}, found), example({"loss": falling_loss(2.3, 0.5)}, found)
