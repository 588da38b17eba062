"""Weight decay that moves the weights more than the loss does."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules.base import Rule, progress, weights


class WeightDecayDominates(Rule):
    """Most of every update is weight decay, and the loss has hardly fallen.

    The weights are pulled to 0 faster than the gradient of the loss can move them. Decay moves
    them by lr times weight decay of their norm; that is compared with all a step moves them by.
    Adam, which scales decay with the gradient, hides it from this comparison; AdamW does not.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "weight_decay_dominates"
    title = "Weight decay outweighs the loss"
    source = "TheDeepChecker (regularisation against data loss), as a share of the update"
    harms = True
    needs = ("update_ratio/*", "loss", "weight_decay")

    SHARE = 0.8
    LAST = 2
    FALLEN = 0.7

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = weights(snapshot, "update_ratio", self.LAST)
        if not layers or progress(snapshot) < self.FALLEN or snapshot.status.step < 30:
            return None
        decay = snapshot.latest.get("weight_decay", 0.0)
        whole = [snapshot.series[one.name] for one in layers]
        length = min(map(len, whole))
        moved = np.median(np.stack([one.mean[-length:] for one in whole]), axis=0)
        shares = snapshot.latest.get("lr", 0.0) * decay / np.maximum(moved, 1e-30)
        if not (decay > 0 and (shares[-self.LAST :] > self.SHARE).all()):
            return None
        value = float(shares[-1])
        seen = f"Weight decay {decay:g} makes up {min(value, 1.0):.0%} of what a step moves."
        remedies = (
            Remedy("A hundredth of the weight decay", {"weight_decay": decay / 100}),
            Remedy("No weight decay", {"weight_decay": 0.0}),
        )
        small = np.flatnonzero(~(shares > self.SHARE))
        since = int(whole[0].step[-length:][small[-1] + 1 if len(small) else 0])
        return Symptom(value, self.SHARE, since, seen, remedies, tuple(map(float, shares)))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        common = {"weight_decay": [0.5] * 9, "update_ratio/0.weight": [0.055] * 9}
        return (
            example({"loss": np.full(400, 2.3), **common}),
            example({"loss": falling(2.3, 0.1), **common}),
        )
