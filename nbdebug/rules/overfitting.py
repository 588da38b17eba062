"""Detects a validation loss that rises while the training loss decreases."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class Overfitting(Rule):
    """The validation loss has risen by most of its earlier decrease; the training loss decreases.

    The model memorises the training samples. The best weights were those of some epochs ago.

    False alarms: 1 of 144 healthy trainings.
    """

    name = "overfitting"
    title = "Overfitting"
    source = "early stopping with patience; published rules (10 % apart) fire on 86 to 100 %"
    harms = True
    # What is learnt by heart may have nothing else to be learnt by.
    asks = (
        "class_numbering", "related_targets", "label_noise", "paired_rows", "parted_rows",
        "other_batch",
    )  # fmt: skip
    needs = ("val_loss", "loss")

    MAX_RISE_SHARE = 0.8
    PATIENCE = 5
    MIN_WEIGHT_DECAY = 0.1

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        val = snapshot.series["val_loss"]
        if len(val) < self.PATIENCE + 2 or not np.isfinite(val.mean).all():
            return None
        best = int(np.argmin(val.mean))
        start = float(np.median(snapshot.series["loss"].mean[:5]))
        least, first = float(val.mean[best]), max(start, float(val.mean[0]))
        now = float(val.mean[-self.PATIENCE :].min())
        bound = least + max(self.MAX_RISE_SHARE * (first - least), 0.2 * abs(least))
        if best > len(val) - self.PATIENCE - 1 or now <= bound or not self._falls(snapshot):
            return None
        since = int(val.step[best])
        seen = f"Validation loss at least {now:.4g} in the last {self.PATIENCE} measurements, "
        seen += f"{least:.4g} at step {since:,}."
        decay = snapshot.latest.get("weight_decay", 0.0)
        remedies = (
            Remedy("Raise weight decay", {"weight_decay": max(self.MIN_WEIGHT_DECAY, 10 * decay)}),
            Remedy("Use dropout", {"dropout": 0.3}),
            Remedy(f"Stop earlier: dbg.rewind({since})"),
        )
        return Symptom(now, bound, since, seen, remedies, downsampled(val.mean))

    def _falls(self, snapshot: Snapshot) -> bool:
        loss = snapshot.series["loss"].mean
        part = max(1, len(loss) // 10)
        return bool(np.median(loss[-part:]) < np.median(loss[: 3 * part]))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.1)}
        rises = np.concatenate([np.linspace(2.3, 1.0, 10), np.linspace(1.0, 3.0, 20)])
        return (
            example({**loss, "val_loss": rises}),
            example({**loss, "val_loss": np.linspace(2.3, 1.0, 30)}),
        )
