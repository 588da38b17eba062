"""Detects weights that other code than the optimizer holds within a tight bound."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import BoundedWeights
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, remaining_loss


class BoundedByHand(Rule):
    """The loop clamps the weights behind each update, and many of them are at the bound.

    `p.data.clamp_(-0.01, 0.01)` belongs to the critic of a Wasserstein GAN. In another network a
    bound below the size of the initial weights leaves little but signs: it cannot learn. A bound
    that few weights reach, or with which the loss falls, is no symptom.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "bounded_weights"
    title = "Weights are clamped behind each update"
    source = "proof: weights after an update and before the next backward pass; Arjovsky (2017)"
    wants = ("loss",)

    MIN_SHARE, MAX_REMAINING, MIN_STEPS = 0.3, 0.7, 50

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(BoundedWeights)
        if found is None or found.step is None or found.share < self.MIN_SHARE:
            return None
        loss = snapshot.series.get("loss")
        if loss is None or len(loss) < self.MIN_STEPS:
            return None
        # A critic's loss is a difference of means, of either sign, and is no measure.
        if not loss.minimum.min() > 0 or remaining_loss(snapshot) < self.MAX_REMAINING:
            return None
        seen = "Between an update and the next backward pass other code than the optimizer clamps "
        seen += f"the weights to {found.bound:.3g}: {found.share:.0%} of them are at this bound."
        remedies = (
            Remedy("Remove the clamping of parameters, such as p.data.clamp_(...), from the loop"),
            Remedy("To keep weights small, use the optimizer's weight_decay"),
        )
        return Symptom(found.share, self.MIN_SHARE, found.step, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        found = BoundedWeights(60, 0.01, 0.8)
        return (
            example({"loss": falling_loss(2.3, 2.2)}, [found]),
            example({"loss": falling_loss(2.3, 0.5)}, [found]),
        )
