"""Detects a loss that keeps rising."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._loss_rise import (
    MAX_RISE_SHARE,
    WINDOW,
    noise_of,
    rise_bound,
    rise_start,
    wander_of,
    window_medians,
)
from nbdebug.rules._remedies import clip_at_p90, previous_lr, scale_lr, warm_up
from nbdebug.rules.base import Rule, downsampled


class Diverging(Rule):
    """The loss has risen by at least half of its earlier decrease, and stays there.

    Steps that are too large leave the minimum. The cause is often a learning-rate schedule or a
    change of a control. A negative loss that vanishes, or that comes back to 0 while its gradient
    hardly grows, as that of a policy gradient, does not diverge; nor does one that goes up and down
    as far all the time, as that of values which are led to values.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "diverging"
    title = "The loss diverges"
    source = "TheDeepChecker (twice the minimum, 5 times), relative to what was won"
    harms = True
    falls = True
    asks = WHY_NO_PROGRESS
    needs = ("loss",)
    wants = ("grad_norm", "lr")

    MAX_RISE_SHARE = MAX_RISE_SHARE
    WINDOW = WINDOW
    EXPLOSION = 4.0
    MAX_VANISHING_SHARE = 0.1
    MAX_START_SHARE = 0.25
    # Of the gradient at the minimum: that of a measure of fit is many times as large far away.
    MAX_GROWN = 2.0
    MIN_WANDERS = 4.0
    # Of the loss at the start: so little is left that the first window has won all already.
    MAX_SETTLED_SHARE = 0.01

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        if len(loss) < 3 * self.WINDOW or not np.isfinite(loss.mean).all():
            return None
        medians = window_medians(loss.mean, self.WINDOW)
        best, now = int(np.argmin(medians)), float(medians[-2:].min())
        bound = rise_bound(medians, best, self.MAX_RISE_SHARE)
        rise, noise = now - float(medians[best]), noise_of(loss.mean)
        calm = rise < max(2 * noise, self.MIN_WANDERS * wander_of(medians))
        calm = calm and not self._explodes(medians, best)
        # Advantages vanish as a policy gets good, and its loss with them.
        calm = calm or abs(now) <= self.MAX_VANISHING_SHARE * -float(medians[best])
        calm = calm or self._returns(snapshot, loss.mean, medians, best)
        calm = calm or 0 <= now <= self.MAX_SETTLED_SHARE * float(loss.mean[: self.WINDOW].max())
        if best > len(medians) - 3 or now <= bound or calm:
            return None
        since = int(loss.step[rise_start(loss.mean, medians, best, bound)])
        lowest = int(loss.step[len(loss) % self.WINDOW + (best + 1) * self.WINDOW - 1])
        seen = f"Median loss {now:.4g}; the median was {medians[best]:.4g} around step {lowest:,}."
        remedies = (
            *previous_lr(snapshot, since), *scale_lr(snapshot, 0.1), *clip_at_p90(snapshot),
            *warm_up(snapshot, since),
        )  # fmt: skip
        return Symptom(now, bound, since, seen, remedies, downsampled(loss.mean))

    def _returns(self, snapshot: Snapshot, loss: Array, medians: Array, best: int) -> bool:
        """True if a loss comes back to 0, where it began, and its gradient hardly grows on the way.

        Whatever has a minimum has a smaller gradient there than far away. What weighs samples by
        advantages or scores has none: the loss is large where there is most to gain.
        """
        lowest = float(medians[best])
        start = min(abs(float(loss[:5].mean())), abs(float(medians[0])))
        # Around 0 the noise of the advantages has both signs.
        high = max(start, float(medians[-2:].max()))
        if lowest >= 0 or high > self.MAX_START_SHARE * -lowest:
            return False
        norm = snapshot.series.get("grad_norm")
        if norm is None or len(norm) != len(loss):
            return False
        norms = window_medians(norm.mean, self.WINDOW)
        return float(norms[-4:].mean()) < self.MAX_GROWN * float(norms[best])

    def _explodes(self, medians: Array, best: int) -> bool:
        """True if the loss rises from window to window, beyond all that it was before."""
        highest = float(np.abs(medians[: best + 1]).max())
        rises = bool((np.diff(medians[best:]) > 0).all())
        return rises and float(medians[-1]) > self.EXPLOSION * highest

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling_loss(2.3, 0.5)
        rising = np.concatenate([calm, np.linspace(0.5, 3.0, 100)])
        return example({"loss": rising}), example({"loss": calm})
