"""A loss that goes up and down from step to step."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import scale_lr
from nbdebug.rules.base import Rule, shown


class Oscillating(Rule):
    """The loss alternates: each step undoes what the one before it did.

    The step jumps over the valley and back. Batches differ at random, which alternates less: the
    correlation of a loss with the next one is near 0 then.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "oscillating"
    title = "The loss oscillates"
    source = "nbdebug; lag-1 autocorrelation of the loss"
    needs = ("loss",)
    wants = ("overshoot",)

    STEPS = 60
    CORRELATION = -0.75
    OVERSHOOT = 0.3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        # Where buckets stand for several steps nothing is left of it.
        if len(loss) < self.STEPS or loss.count[-self.STEPS :].max() > 1:
            return None
        recent = loss.mean[-self.STEPS :]
        if not np.isfinite(recent).all():
            return None
        around = recent - np.convolve(np.pad(recent, 2, "edge"), np.full(5, 0.2), "valid")
        size = float(around @ around)
        if size < 1e-12 * float(recent @ recent):
            return None
        value = float(around[1:] @ around[:-1]) / size
        if value > self.CORRELATION:
            return None
        since = int(loss.step[-self.STEPS])
        seen = f"Correlation {value:.2f} of a loss with the next one, over {self.STEPS} steps."
        beyond = self._beyond(snapshot)
        factor = 0.25
        if beyond > self.OVERSHOOT:
            seen += " The step size does it: along a step the loss falls and rises again, to a "
            seen += f"slope {beyond:.2f} of that at its start."
            # To the lowest point of the parabola.
            factor = float(f"{1 / (1 + beyond):.2g}")
        remedies = (*scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 4))
        return Symptom(value, self.CORRELATION, since, seen, remedies, shown(recent))

    def _beyond(self, snapshot: Snapshot) -> float:
        """Median of the overshoot of the last steps; NaN without one."""
        series = snapshot.series.get("overshoot")
        known = series.mean[np.isfinite(series.mean)][-10:] if series is not None else ()
        return float(np.median(known)) if len(known) else np.nan

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling(2.3, 0.5)
        jumps = calm + 0.5 * (-1.0) ** np.arange(400)
        return example({"loss": jumps, "overshoot": np.full(40, 0.9)}), example({"loss": calm})
