"""A gradient that is far larger than those before it."""

from __future__ import annotations

import numpy as np

from nbdebug.core.findings import Symptom
from nbdebug.core.snapshot import Snapshot
from nbdebug.rules.base import Rule, shown
from nbdebug.rules.example import example, falling
from nbdebug.rules.remedies import clip_at_p90, scale_lr


class GradientSpike(Rule):
    """One of the last gradients is far above what the 200 steps before it had.

    A batch with unusual samples, or a step that went too far. The finding clears 50 steps later.
    """

    name = "gradient_spike"
    title = "A spike of the gradient"
    source = (
        "median + 6 MAD of log10, as Google's tuning playbook plots it, and 30 times the median"
    )
    needs = ("grad_norm",)

    BEFORE = 200
    RECENT = 50
    MADS = 6.0
    TIMES = 30.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        norms = snapshot.series["grad_norm"]
        if len(norms) < self.RECENT + 20:
            return None
        recent, before = norms.maximum[-self.RECENT :], norms.mean[: -self.RECENT][-self.BEFORE :]
        before = before[before > 0]
        if not len(before) or not np.isfinite(recent).any():
            return None
        middle = float(np.median(before))
        logs = np.log10(before)
        mad = float(np.median(np.abs(logs - np.median(logs))))
        usual = float(np.percentile(norms.maximum[: -self.RECENT], 99))
        bound = max(middle * 10 ** (self.MADS * mad), middle * self.TIMES, 3 * usual)
        place = int(np.nanargmax(recent))
        value = float(recent[place])
        if value <= bound:
            return None
        since = int(norms.step[len(norms) - self.RECENT + place])
        seen = f"Gradient norm {value:.3g} at step {since:,}; the median before was {middle:.3g}."
        remedies = (*clip_at_p90(snapshot), *scale_lr(snapshot, 0.3))
        return Symptom(value, bound, since, seen, remedies, shown(norms.maximum[-self.BEFORE :]))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling(1.0, 0.5)
        spiky = calm.copy()
        spiky[-9] = 90.0
        return example({"grad_norm": spiky}), example({"grad_norm": calm})
