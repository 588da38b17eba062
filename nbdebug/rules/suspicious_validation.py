"""Detects a validation loss that is implausibly low."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.checks.check_result import OTHER_INPUTS
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class SuspiciousValidation(Rule):
    """The validation loss is far below the training loss repeatedly, without dropout.

    New samples are rarely easier than training samples. Validation samples may also be training
    samples, may be of another kind (cleaner labels, easier cases), or may be preprocessed
    differently. Where the check `train_eval` saw that a step mixes or disturbs its inputs in
    training mode only, its loss is of harder samples, and nothing is said.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "suspicious_validation"
    title = "Validation is better than training"
    source = "UMLAUT (validation accuracy over training, fires on 82 %); nbdebug: half the loss"
    needs = ("val_loss", "loss")

    MIN_LOSS_RATIO = 0.5
    PATIENCE = 5
    MIN_REMAINING_LOSS = 0.2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        val, loss = snapshot.series["val_loss"], snapshot.series["loss"]
        if len(val) < self.PATIENCE + 1 or snapshot.latest.get("dropout", 0.0) > 0:
            return None
        if any(one.name == "train_eval" and OTHER_INPUTS in one.seen for one in snapshot.checks):
            return None
        since = int(val.step[-self.PATIENCE])
        known = loss.mean[loss.step >= since]
        if len(known) < self.PATIENCE:
            return None
        trained, start = float(np.median(known)), float(np.median(loss.mean[:5]))
        value = float(val.mean[-self.PATIENCE :].max())
        bound = self.MIN_LOSS_RATIO * trained
        # A small loss is dominated by a few samples.
        if not 0 <= value < bound or trained < self.MIN_REMAINING_LOSS * start:
            return None
        seen = f"Validation loss at most {value:.4g} in the last {self.PATIENCE} measurements, "
        seen += f"training loss {trained:.4g}."
        remedies = (
            Remedy("Check if the two sets share samples: dbg.check('overlap')"),
            Remedy("Compare labels, selection and preprocessing of the two sets"),
        )
        return Symptom(value, bound, since, seen, remedies, downsampled(val.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 1.2)}
        return (
            example({**loss, "val_loss": np.full(400, 0.3)}),
            example({**loss, "val_loss": np.full(400, 1.1)}),
        )
