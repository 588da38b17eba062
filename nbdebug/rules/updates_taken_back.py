"""Detects weights that are led back after each update, by other code than the optimizer."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import TakenBack
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class UpdatesTakenBack(Rule):
    """The loop writes into the weights between its updates, and leads them back to where they were.

    An average of the weights that is copied into the model, in place of the model into the average,
    takes almost all of each update back: the training seems to have a tiny learning rate. So does
    weight decay by hand that is far too large, or rounding. Clipped, pruned and frozen weights, and
    steps that are taken back now and then on purpose, are no symptom.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_taken_back"
    title = "Updates are taken back outside of the optimizer"
    source = "proof: weights after an update and before the next backward pass; Polyak (1992)"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(TakenBack)
        if found is None or found.step is None:
            return None
        seen = (
            f"Between an update and the next backward pass, other code than the optimizer writes "
            f"into the weights and takes back {found.share:.0%} of the update."
        )
        remedies = (
            Remedy(
                "If the loop averages weights (EMA), write into the average and not into the "
                "model: average.lerp_(weight, 1 - decay)"
            ),
            Remedy("Look for what writes into parameters by hand behind optimizer.step()"),
        )
        return Symptom(found.share, 0.5, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [TakenBack(20, 0.99)]), example(loss, [TakenBack(None)])
