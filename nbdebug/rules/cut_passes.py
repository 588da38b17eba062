"""Detects passes over the data that end after the same first batches."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import CutPasses
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class CutShort(Rule):
    """Each pass is left after the same first batches, so that the other samples are never seen.

    A `break` that was left from a test ends each epoch early. With a loader that shuffles, other
    samples come each time; in a fixed order the same few come again and again, and are learnt by
    heart.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "cut_passes"
    title = "Most of the data is never seen"
    source = "proof: three passes in a row that were left after the same batches, in a fixed order"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(CutPasses)
        if found is None or found.step is None:
            return None
        samples = f" ({found.taken * found.size:,} samples)" if found.size else ""
        seen = f"The loop leaves each pass after {found.taken} of {found.batches} batches{samples}"
        seen += f" ({found.line})" if found.line else ""
        seen += ", and the data comes in the same order each time: the rest is never drawn."
        remedies = (
            Remedy("Remove the break (or the limit of batches) from the loop over the batches"),
            Remedy("If short epochs are meant, let the DataLoader shuffle: shuffle=True"),
        )
        share = found.taken / max(found.batches, 1)
        since = min(found.step, snapshot.status.step)
        return Symptom(share, 0.5, since, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        found = CutPasses(6, 2, 32, 32)
        return example(loss, [found]), example(loss, [CutPasses(None)])
