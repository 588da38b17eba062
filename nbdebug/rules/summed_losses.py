"""Detects losses of earlier steps that are passed back again."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import SummedLosses
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class LossesAddedUp(Rule):
    """`backward()` is called on a sum that still holds the losses of earlier steps.

    A loss that is added up for a plot, as a tensor, keeps the graphs of all batches. Passed back
    with `retain_graph=True`, each step repeats the gradients of all steps before it, which belong
    to weights that are gone; steps grow with the pass, and so do time and memory.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "summed_losses"
    title = "Losses of earlier batches are passed back again"
    severity = "error"
    source = "proof: operations of a loss that was passed back before the last update"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(SummedLosses)
        if found is None:
            return None
        seen = f"At step {found.step:,} backward() goes through a loss again that was passed back "
        seen += f"{found.ago} update{'s' * (found.ago != 1)} before"
        seen += f" ({found.line})." if found.line else "."
        remedies = (
            Remedy("Call backward() on the loss of the batch alone, without retain_graph=True"),
            Remedy("Add up loss.item() for the plot"),
        )
        since = min(found.step, snapshot.status.step)
        return Symptom(float(found.ago), 0.0, since, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        sick = SummedLosses(1, 1, "line 9 of train.py: total.backward(retain_graph=True)")
        return example(loss, [sick]), example(loss)
