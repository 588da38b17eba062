"""Detects a dropout probability that holds training back."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class HeavyDropout(Rule):
    """Dropout is high, and the loss without dropout is far below the loss with dropout.

    The training loss is measured with dropout, the validation loss without. If the validation
    loss is far below the training loss, dropout holds training back.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "heavy_dropout"
    title = "Too much dropout"
    source = "UMLAUT (over 0.5, which is everyone's default); nbdebug: over 0.6 and both losses"
    needs = ("dropout", "loss", "val_loss")

    MAX_DROPOUT = 0.6
    MAX_LOSS_RATIO = 0.75
    PATIENCE = 3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        value = snapshot.latest.get("dropout", 0.0)
        val, loss = snapshot.series["val_loss"], snapshot.series["loss"]
        if not value > self.MAX_DROPOUT or len(val) < self.PATIENCE or len(loss) < 50:
            return None
        trained = float(np.median(loss.mean[-50:]))
        held_out = float(val.mean[-self.PATIENCE :].max())
        if not held_out < self.MAX_LOSS_RATIO * trained:
            return None
        seen = f"Dropout {value:g}: the loss is {trained:.3g} with dropout, {held_out:.3g} without."
        since = int(val.step[-self.PATIENCE])
        remedies = (Remedy("Lower dropout to 0.3", {"dropout": 0.3}),)
        return Symptom(value, self.MAX_DROPOUT, since, seen, remedies, downsampled(loss.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        losses = {"loss": falling_loss(2.3, 1.5), "val_loss": np.full(9, 0.6)}
        return (
            example({**losses, "dropout": np.full(9, 0.8)}),
            example({**losses, "dropout": np.full(9, 0.3)}),
        )
