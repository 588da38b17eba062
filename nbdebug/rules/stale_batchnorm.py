"""Detects BatchNorm running statistics that do not match the data."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule


class StaleBatchnorm(Rule):
    """On the same batch, the loss is far higher in eval mode than in training mode.

    BatchNorm uses the statistics of the batch in training mode and running averages in eval mode.
    The running averages do not match: the momentum is so small that they lag behind, the weights
    change too fast, or dropout changes the inputs of BatchNorm.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "stale_batchnorm"
    title = "BatchNorm statistics do not match in eval mode"
    source = "nbdebug: a loss 1.5 times as large, and larger by a tenth of the initial loss"
    needs = ("eval_loss", "loss")

    MAX_LOSS_RATIO = 1.5
    MAX_LOSS_RISE = 0.1
    PATIENCE = 3
    MIN_STEPS, NEAR_STEPS = 80, 10

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        ours, loss = snapshot.series["eval_loss"], snapshot.series["loss"]
        if len(ours) < self.PATIENCE or snapshot.status.step < self.MIN_STEPS:
            return None
        part = ours.part(np.arange(len(ours)) >= len(ours) - self.PATIENCE)
        start = abs(float(np.median(loss.mean[:5])))
        # The training loss of the same steps: it may fall fast.
        near = [loss.mean[np.abs(loss.step - step) <= self.NEAR_STEPS] for step in part.step]
        if not all(map(len, near)) or not np.isfinite(part.mean).all():
            return None
        trained = float(np.median([np.median(values) for values in near]))
        value = float(np.median(part.mean))
        bound = max(self.MAX_LOSS_RATIO * trained, trained + self.MAX_LOSS_RISE * start)
        if float(np.sort(part.mean)[1]) <= bound:
            return None
        seen = f"Loss {value:.4g} in eval mode on batches whose training loss is {trained:.4g}."
        remedies = (
            Remedy("Set the momentum of the running averages to 0.1", {"bn_momentum": 0.1}),
            Remedy("Re-estimate the statistics: dbg.reestimate_batchnorm()"),
            *scale_lr(snapshot, 0.1),
        )
        evidence = tuple(map(float, ours.mean[-64:]))
        return Symptom(value, bound, int(part.step[0]), seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        common = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**common, "eval_loss": np.full(400, 2.0)}),
            example({**common, "eval_loss": np.full(400, 0.6)}),
        )
