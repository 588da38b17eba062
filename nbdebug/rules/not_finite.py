"""Detects NaN or Inf in a loss or a gradient."""

from __future__ import annotations

import math

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice, Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import clip_at_p90, scale_lr, warm_up
from nbdebug.rules.base import Rule, downsampled


class NotFinite(Rule):
    """Training stopped because of NaN or Inf in a loss or a gradient.

    Steps that are too large make outputs overflow. Other causes are NaN or Inf in the data, and
    a logarithm, a division or a square root of 0 in the loss.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "not_finite"
    title = "NaN or Inf"
    severity = "error"
    source = "proof"
    wants = ("loss", "grad_norm", "lr")

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        failure = snapshot.status.failure
        if failure is None or failure.kind != "non_finite":
            return None
        loss = snapshot.series.get("loss")
        smaller = (
            *scale_lr(snapshot, 0.1), *clip_at_p90(snapshot), *warm_up(snapshot, failure.step)
        )  # fmt: skip
        exclude = Remedy("Exclude such batches", {"not_finite": "exclude"})
        # A smaller step size does not help against NaN in the data, or against a division by 0.
        remedies = (*smaller, exclude)
        if failure.origin == "data":
            remedies = (exclude, Remedy("Fix or remove the samples that are named"))
        if failure.origin == "operation":
            remedies = (Remedy("Guard the operation in the line that is named"), exclude)
        evidence = () if loss is None else downsampled(loss.mean)
        return Symptom(math.nan, math.inf, failure.step, failure.text, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        failure = Notice(7, "error", "Stopped", "The loss is nan.", kind="non_finite")
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, status=Status(step=7, failure=failure)), example(loss)
