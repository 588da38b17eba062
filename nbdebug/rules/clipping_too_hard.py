"""Detects clipping of almost every gradient."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LoopClipping
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import clip_at_p90, grad_norm_p90, scale_lr
from nbdebug.rules.base import Rule, downsampled, remaining_loss


class ClippingTooHard(Rule):
    """Almost every gradient is clipped to a small fraction of its norm.

    The threshold then determines the step size instead of the learning rate. Google's tuning
    playbook advises to lower the learning rate rather than to raise the threshold. A loop of your
    own that clips by itself is told so where its loss does not fall.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "clipping_too_hard"
    title = "Almost every gradient is clipped"
    source = "Google's tuning playbook (half); nbdebug: 95 %, to under a tenth"
    needs = ("clipped", "grad_norm", "grad_norm_clipped")
    wants = ("loss",)

    MAX_CLIPPED_SHARE = 0.95
    MIN_KEPT_SHARE = 0.1
    MIN_REMAINING_LOSS = 0.9
    LAST_STEPS = 100

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        return self._of_loop(snapshot) or self._of_settings(snapshot)

    def _of_loop(self, snapshot: Snapshot) -> Symptom | None:
        """Clipping by the code of a loop, where the loss does not fall either."""
        found = snapshot.results.of(LoopClipping)
        if found is None or found.step is None or "loss" not in snapshot.series:
            return None
        if remaining_loss(snapshot) < self.MIN_REMAINING_LOSS:
            return None
        where = f" ({found.line})" if found.line else ""
        seen = f"Since step {found.step:,} your loop clips every gradient at {found.limit:.3g}, to "
        seen += f"{found.kept:.2g} of its norm{where}, and the loss does not fall."
        usual = grad_norm_p90(snapshot)
        high = f": 90% of the norms are below {usual:.3g}" if usual > 0 else ""
        remedy = Remedy(f"Clip at a higher limit in your loop{high}")
        return Symptom(found.kept, self.MIN_KEPT_SHARE, found.step, seen, (remedy,))

    def _of_settings(self, snapshot: Snapshot) -> Symptom | None:
        clipped = snapshot.series["clipped"]
        if len(clipped) < self.LAST_STEPS:
            return None
        value = float(clipped.mean[-self.LAST_STEPS :].mean())
        norms = snapshot.series["grad_norm"].mean[-self.LAST_STEPS :]
        after = snapshot.series["grad_norm_clipped"].mean[-self.LAST_STEPS :]
        kept = float(np.median(after / np.maximum(norms, 1e-30)))
        if not value > self.MAX_CLIPPED_SHARE or kept > self.MIN_KEPT_SHARE:
            return None
        since = int(clipped.step[-self.LAST_STEPS])
        seen = f"{value:.0%} of the last gradients were clipped, to {kept:.2g} of their norm."
        remedies = (
            *clip_at_p90(snapshot),
            *scale_lr(snapshot, 0.3),
            Remedy("Switch clipping off", {"clip_mode": "off"}),
        )
        return Symptom(value, self.MAX_CLIPPED_SHARE, since, seen, remedies, downsampled(norms))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        norms = {"grad_norm": falling_loss(3.0, 1.0)}
        cut = {"clipped": np.ones(400), "grad_norm_clipped": np.full(400, 0.01)}
        return (
            example({**norms, **cut}),
            example({**norms, **cut, "clipped": np.zeros(400)}),
        )
