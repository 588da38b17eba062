"""Detects trainable parameters that do not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, first_names, group_series, owners

USE = Remedy("Check that forward uses the layers and that nothing detaches their outputs")
CANCELS = Remedy(
    "Look for a ratio or a difference of an output with itself (one side must be detached), for "
    "units that are dead, and for a layer that gives a constant"
)
FREEZE = Remedy("Freeze the layer if it should not learn")
HOLD = Remedy("Build the optimizer on all of model.parameters(), after every layer is in the model")
RATE = Remedy("Give their parameter group a learning rate that rounding does not remove")


class UnchangedParameters(Rule):
    """Some trainable parameters do not change at all.

    It is an error if they get a gradient and the optimizer does not hold them, or does not change
    them in many updates. It is a warning if they get no gradient, since their layer is not used in
    the forward pass or its output is detached, if their gradient is exactly 0, since it cancels or
    their units are dead, and if the learning rate of their group is 0.

    A layer that rests in some steps, such as an expert or a skipped block, is no symptom.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "unchanged_parameters"
    title = "Parameters that do not change"
    severity = "error"
    source = "proof; TrainCheck, torchtest"
    needs = ("update_ratio/*",)
    wants = ("grad_norm/*", "unheld/*", "unchanged/*", "at_zero_rate/*", "resting/*", "cancelled/*")

    MIN_UNHELD_UPDATES = 2
    MIN_UPDATES = 5
    MIN_ALL_UPDATES = 50
    MIN_NEVER_STEPS = 40
    MIN_RESTING_STEPS = 500
    MAX_ROUNDING_RATIO = 1e-4

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        if not snapshot.latest.get("lr", 0.0) > 0:
            return None
        unheld = self._over(snapshot, "unheld", self.MIN_UNHELD_UPDATES)
        still = self._still(snapshot)
        if unheld:
            return self._symptom(
                snapshot, unheld,
                f"A gradient reaches {first_names(unheld)}, and the optimizer does not hold them.",
                HOLD, FREEZE,
            )  # fmt: skip
        if still:
            count = int(min(still.values()))
            return self._symptom(
                snapshot, still,
                f"{first_names(still)} had a gradient in {count} measured updates, and none "
                "changed them. The optimizer holds them, with a learning rate above 0.",
                RATE, FREEZE,
            )  # fmt: skip
        zero = self._over(snapshot, "at_zero_rate", self.MIN_UPDATES)
        resting = self._resting(snapshot)
        if zero:
            text = f"The learning rate of the group of {first_names(zero)} is 0."
            return self._symptom(snapshot, zero, text, RATE, FREEZE, proof=False)
        cancelled = self._over(snapshot, "cancelled", self.MIN_NEVER_STEPS)
        if resting and resting.keys() <= cancelled.keys():
            count = int(min(resting.values()))
            text = (
                f"The gradient of {first_names(resting)} was exactly 0 in the last {count:,} "
                "steps: the loss is computed from them, and does not depend on them."
            )
            return self._symptom(snapshot, resting, text, CANCELS, FREEZE, proof=False)
        if resting:
            count = int(min(resting.values()))
            text = f"No gradient reached {first_names(resting)} in the last {count:,} steps."
            return self._symptom(snapshot, resting, text, USE, FREEZE, proof=False)
        return None

    def _still(self, snapshot: Snapshot) -> dict[str, float]:
        """Parameters that the optimizer holds and does not change, with counts of updates."""
        gradients = {
            n: float(s.mean.max()) for n, s in group_series(snapshot, "grad_norm", 1).items()
        }
        still = {
            name: count
            for name, count in self._over(snapshot, "unchanged", self.MIN_UPDATES).items()
            if self._meant(gradients.get(name), gradients.values())
        }
        moving = [s for s in group_series(snapshot, "update_ratio", 1).values() if s.last[-1] > 0]
        # If nothing moves, the optimizer may be gathering gradients for a large update.
        need = self.MIN_UPDATES if moving else self.MIN_ALL_UPDATES
        return {name: count for name, count in still.items() if count >= need}

    def _resting(self, snapshot: Snapshot) -> dict[str, float]:
        """Parameters without any gradient, or without one for long, with counts of steps."""
        step = snapshot.status.step
        return {
            name: count
            for name, count in self._over(snapshot, "resting", self.MIN_NEVER_STEPS).items()
            if count >= self.MIN_RESTING_STEPS or count >= self._measured(snapshot, step)
        }

    def _measured(self, snapshot: Snapshot, step: int) -> float:
        """Number of steps up to the last measurement."""
        last = [s.step[-1] + 1 for s in group_series(snapshot, "update_ratio", 1).values()]
        return float(min(max(last, default=step), step))

    def _over(self, snapshot: Snapshot, group: str, least: float) -> dict[str, float]:
        found = {n: float(s.last[-1]) for n, s in group_series(snapshot, group, 1).items()}
        return {name: value for name, value in found.items() if value >= least}

    def _meant(self, norm: float | None, norms: Iterable[float]) -> bool:
        """False if rounding explains it: a bias before BatchNorm has a gradient of almost 0."""
        return not norm or norm > self.MAX_ROUNDING_RATIO * max(norms)

    def _symptom(
        self, snapshot: Snapshot, found: Mapping[str, float], text: str, *remedies: Remedy,
        proof: bool = True,
    ) -> Symptom:  # fmt: skip
        total = len(group_series(snapshot, "update_ratio", 1)) or len(found)
        since = max(0, snapshot.status.step - int(max(found.values())))
        seen = f"{len(found)} of {max(total, len(found))} parameters did not change. {text}"
        symptom = Symptom(float(len(found)), 0.0, since, seen, remedies, layers=owners(found))
        return symptom if proof else replace(symptom, severity="warning")

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        moves = {"loss": falling_loss(2.3, 0.5), "update_ratio/0.weight": np.full(9, 1e-3)}
        stays = {"update_ratio/1.weight": np.zeros(9), "unchanged/1.weight": np.arange(9.0)}
        return example({**moves, **stays}), example(moves)
