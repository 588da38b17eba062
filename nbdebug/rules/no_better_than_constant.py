"""A loss that a constant would have too."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, shown


class NoBetterThanConstant(Rule):
    """The model does no better than one that ignores its inputs and gives the best constant.

    For classes that is their frequencies, for numbers their mean. Inputs and targets may have
    nothing to do with each other (rows shuffled apart, labels mixed up), the output may be cut
    off from the inputs, or the steps are far too large or too small.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "no_better_than_constant"
    title = "No better than a constant"
    source = "Karpathy's recipe (input-independent baseline); over 0.95 of the best constant"
    needs = ("loss", "constant_loss")

    SHARE = 0.95
    STEPS = 200
    EPOCHS = 3.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss, status = snapshot.series["loss"], snapshot.status
        constant = snapshot.series["constant_loss"].last
        known = constant[np.isfinite(constant)]
        epoch = snapshot.latest.get("epoch", self.EPOCHS)
        if not len(known) or len(loss) < 40 or status.step < self.STEPS or epoch < self.EPOCHS:
            return None
        half = loss.mean[len(loss) // 2 :]
        value, bound = float(np.median(half)), self.SHARE * float(known[-1])
        # The best of many short stretches: one that learns late is no longer sick.
        parts = np.array_split(half, 4)
        lowest = min(float(np.median(part)) for part in parts)
        if not np.isfinite(value) or known[-1] <= 0 or lowest <= bound:
            return None
        seen = f"Median loss {value:.4g} over the last half of the steps; a constant has "
        seen += f"{known[-1]:.4g}."
        remedies = (
            Remedy("Run the checklist: dbg.check(slow=True) says whether there is a signal"),
            *scale_lr(snapshot, 10.0),
            *scale_lr(snapshot, 0.1),
        )
        return Symptom(value, bound, int(loss.step[len(loss) // 2]), seen, remedies, shown(half))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        constant = {"constant_loss": np.full(20, 2.303)}
        noise = np.random.default_rng(0).normal(2.31, 0.05, 400)
        return example({"loss": noise, **constant}), example(
            {"loss": falling(2.3, 1.5), **constant}
        )
