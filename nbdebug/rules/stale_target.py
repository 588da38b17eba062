"""Detects a target network that does not follow the one it is a copy of."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class StaleTarget(Rule):
    """A copy of the model that gives targets is still what it was at the start.

    In Q-learning and its kin the targets are rewards plus the values that a slow copy of the
    network gives the next states. If nothing ever copies the trained weights to it, they stay
    those of a random network: the loss falls, and only rewards of one step are learnt.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "stale_target"
    title = "The target network does not follow"
    source = "Mnih et al. (2015), Human-level control; measured: steps since it changed"
    wants = ("target_age/*",)

    MIN_AGE = 300

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        for name, ages in snapshot.series.items():
            group, _, copy = name.partition("/")
            if group != "target_age" or not len(ages.last) or not np.isfinite(ages.last[-1]):
                continue
            age, step = float(ages.last[-1]), int(ages.step[-1])
            # It never changed: one that follows every thousand steps has.
            if age < self.MIN_AGE or age < step - 1:
                continue
            seen = f"{copy} gives targets in each step, and its weights are those of the start: "
            seen += f"nothing was copied to it in {age:,.0f} steps, while the model was trained."
            remedies = (
                Remedy(f"Copy the weights every 100 to 1,000 steps: {copy}.load_state_dict(...)"),
                Remedy("Or let it follow slowly: p_target.lerp_(p, 0.005) after each update"),
            )
            return Symptom(age, self.MIN_AGE, 0, seen, remedies, downsampled(ages.last))
        return None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        def made(every: int) -> Snapshot:
            ages = np.arange(0, 440, 11.0) % every
            return example({"loss": falling_loss(2.3, 0.5, 440), "target_age/target": ages})

        return made(1000), made(100)
