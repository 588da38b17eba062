"""A loss or a gradient that is not finite."""

from __future__ import annotations

import math

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import NOT_FINITE, Notice, Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import clip_at_p90, scale_lr
from nbdebug.rules.base import Rule, shown


class NotFinite(Rule):
    """Training stopped, since a loss or a gradient is NaN or infinite.

    Steps that are too large let outputs overflow; so do samples that are not finite themselves,
    and log, division or square root of 0 in the loss.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "not_finite"
    title = "A value is not finite"
    severity = "error"
    source = "proof"
    wants = ("loss", "grad_norm")

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        failure = snapshot.status.failure
        if failure is None or failure.title != NOT_FINITE:
            return None
        loss = snapshot.series.get("loss")
        smaller = (*scale_lr(snapshot, 0.1), *clip_at_p90(snapshot))
        exclude = Remedy("Leave such batches out", {"not_finite": "exclude"})
        # No step size helps against data that are not finite themselves.
        data = "the data are not finite" in failure.text
        remedies = (exclude, *smaller) if data else (*smaller, exclude)
        evidence = () if loss is None else shown(loss.mean)
        return Symptom(math.nan, math.inf, failure.step, failure.text, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        failure = Notice(7, "error", NOT_FINITE, "The loss is nan.")
        loss = {"loss": falling(2.3, 0.5)}
        return example(loss, status=Status(step=7, failure=failure)), example(loss)
