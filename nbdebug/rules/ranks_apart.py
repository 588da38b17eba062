"""Detects ranks of one training whose weights differ."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.ranks import RanksApart
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class RanksDiffer(Rule):
    """The weights of the ranks differ, which are to be equal: each trains a model of its own.

    Ranks that average their gradients stay equal to the bit. Where they began so and do not, the
    gradients of some parameters are not averaged (a model that is not wrapped, a module beside the
    wrapped one, `no_sync` left on), or the loop changes weights on one rank alone.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "ranks_apart"
    title = "The ranks have different weights"
    source = "nbdebug; proof: sums of the bits of all weights, compared behind a command"
    severity = "error"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(RanksApart)
        if found is None:
            return None
        seen = f"At step {found.step:,}, behind {found.command}, the weights of the ranks differ."
        remedies = (
            Remedy("Wrap the model in DistributedDataParallel, which averages the gradients"),
            Remedy("Call the wrapped model, not the module in it, in every step"),
            Remedy("Give all parameters that the optimizer holds to the wrapped model"),
            Remedy("Load or change weights on all ranks, not on rank 0 alone"),
        )
        return Symptom(1.0, 0.0, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [RanksApart(30, "set_control")]), example(loss)
