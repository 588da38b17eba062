"""A loss that rises for good."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules._remedies import as_before, clip_at_p90, scale_lr
from nbdebug.rules.base import Rule, shown


class Diverging(Rule):
    """The loss has lost again at least half of what it had won, and stays there.

    Steps that are too large climb out of the valley; a schedule or a change of a control often
    began it.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "diverging"
    title = "The loss diverges"
    source = "TheDeepChecker (twice the minimum, 5 times), relative to what was won"
    harms = True
    needs = ("loss",)
    wants = ("grad_norm",)

    PART = 0.5
    WINDOW = 20

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = snapshot.series["loss"]
        if len(loss) < 3 * self.WINDOW or not np.isfinite(loss.mean).all():
            return None
        usable = loss.mean[len(loss) % self.WINDOW :]
        medians = np.median(usable.reshape(-1, self.WINDOW), axis=1)
        best = int(np.argmin(medians))
        # The highest of the calm start: what was won is counted from there.
        first, now = float(medians[: best + 1].max()), float(medians[-2:].min())
        won = max(first - float(medians[best]), 1e-3 * abs(first))
        bound = float(medians[best]) + self.PART * won
        rise, noise = now - float(medians[best]), float(np.std(usable[-2 * self.WINDOW :]))
        if best > len(medians) - 3 or now <= bound or rise < 2 * noise:
            return None
        since = int(loss.step[len(loss) % self.WINDOW + (best + 1) * self.WINDOW - 1])
        seen = f"Median loss {now:.4g}, after {medians[best]:.4g} around step {since:,}."
        remedies = (
            *as_before(snapshot, since), *scale_lr(snapshot, 0.1), *clip_at_p90(snapshot)
        )  # fmt: skip
        return Symptom(now, bound, since, seen, remedies, shown(loss.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling(2.3, 0.5)
        rising = np.concatenate([calm, np.linspace(0.5, 3.0, 100)])
        return example({"loss": rising}), example({"loss": calm})
