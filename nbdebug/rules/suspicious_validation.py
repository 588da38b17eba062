"""A validation loss that is too good."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules.base import Rule, shown


class SuspiciousValidation(Rule):
    """Without any dropout, the validation loss is far below the training loss, time and again.

    New samples are hardly easier than known ones. Validation samples may be among the training
    samples, may be others (cleaner labels, easier cases), or be prepared in another way.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "suspicious_validation"
    title = "Validation is better than training"
    source = "UMLAUT (validation accuracy over training, fires on 82 %); nbdebug: half the loss"
    needs = ("val_loss", "loss")

    SHARE = 0.5
    LAST = 5
    LEAST = 0.2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        val, loss = snapshot.series["val_loss"], snapshot.series["loss"]
        if len(val) < self.LAST + 1 or snapshot.latest.get("dropout", 0.0) > 0:
            return None
        since = int(val.step[-self.LAST])
        known = loss.mean[loss.step >= since]
        if len(known) < self.LAST:
            return None
        trained, start = float(np.median(known)), float(np.median(loss.mean[:5]))
        value = float(val.mean[-self.LAST :].max())
        bound = self.SHARE * trained
        # Where little is left of the loss, it is a matter of a few samples.
        if not 0 <= value < bound or trained < self.LEAST * start:
            return None
        seen = f"Validation loss at most {value:.4g} in the last {self.LAST} measurements, "
        seen += f"training loss {trained:.4g}."
        remedies = (
            Remedy("See whether samples are in both: dbg.check('overlap')"),
            Remedy("Compare how both are made: labels, selection, preprocessing"),
        )
        return Symptom(value, bound, since, seen, remedies, shown(val.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling(2.3, 1.2)}
        return (
            example({**loss, "val_loss": np.full(400, 0.3)}),
            example({**loss, "val_loss": np.full(400, 1.1)}),
        )
