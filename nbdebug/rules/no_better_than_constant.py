"""Detects a loss that is no lower than that of a constant output."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS, look_into
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import lr_by_updates
from nbdebug.rules.base import Rule, downsampled


class NoBetterThanConstant(Rule):
    """The loss is no lower than that of the best constant output, which ignores the inputs.

    The best constant is the class frequencies for classification, the mean for regression.
    Possible causes: inputs and targets do not belong together (shuffled separately, wrong
    labels), the output does not depend on the inputs, or the steps are far too large or small.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "no_better_than_constant"
    title = "No better than a constant output"
    source = "Karpathy's recipe (input-independent baseline); over 0.95 of the best constant"
    falls = True
    asks = WHY_NO_PROGRESS
    needs = ("loss", "constant_loss")
    wants = ("update_ratio/*",)

    MAX_LOSS_RATIO = 0.95
    SMALL_UPDATE_RATIO, LARGE_UPDATE_RATIO = 1e-4, 3e-2
    MIN_STEPS = 200
    MIN_EPOCHS = 3.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss, status = snapshot.series["loss"], snapshot.status
        constant = snapshot.series["constant_loss"].last
        known = constant[np.isfinite(constant)]
        epoch = snapshot.latest.get("epoch", self.MIN_EPOCHS)
        if (
            not len(known)
            or len(loss) < 40
            or status.step < self.MIN_STEPS
            or epoch < self.MIN_EPOCHS
        ):
            return None
        half = loss.mean[len(loss) // 2 :]
        value, bound = float(np.median(half)), self.MAX_LOSS_RATIO * float(known[-1])
        # The best of several short intervals: a model that learns late is healthy.
        parts = [float(np.median(part)) for part in np.array_split(half, 4)]
        if not np.isfinite(value) or known[-1] <= 0 or min(parts) <= bound + np.std(parts, ddof=1):
            return None
        seen = f"Median loss {value:.4g} over the last half of the steps; a constant output gives "
        seen += f"{known[-1]:.4g}."
        remedies = (
            *look_into(snapshot),
            *lr_by_updates(snapshot, self.SMALL_UPDATE_RATIO, self.LARGE_UPDATE_RATIO),
        )
        return Symptom(
            value, bound, int(loss.step[len(loss) // 2]), seen, remedies, downsampled(half)
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        constant = {"constant_loss": np.full(20, 2.303)}
        noise = np.random.default_rng(0).normal(2.31, 0.05, 400)
        return example({"loss": noise, **constant}), example(
            {"loss": falling_loss(2.3, 1.5), **constant}
        )
