"""Detects learning-rate edits that undo one another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class LrEditsFight(Rule):
    """The learning rate was raised and lowered alternately within a few hundred steps.

    Each edit reverses the one before, and no value was kept long enough to show its effect on
    the loss. Use a fork to compare several learning rates on the same batches.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "lr_edits_fight"
    title = "Learning-rate edits undo one another"
    source = "nbdebug; four alternating edits, each by half or more, within 300 steps"
    needs = ("lr",)

    MIN_EDITS = 4
    MIN_FACTOR = 1.5
    MAX_STEPS = 300

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        edits = list(self._edits(snapshot.changes))[-self.MIN_EDITS :]
        if len(edits) < self.MIN_EDITS or snapshot.status.step - edits[0].step > self.MAX_STEPS:
            return None
        ups = [edit.new > edit.old for edit in edits]
        if any(one == other for one, other in pairwise(ups)):
            return None
        rates = [float(edit.new) for edit in edits]
        low, high = min(rates), max(rates)
        since, first = edits[0].step, float(f"{low:.3g}")
        seen = f"{self.MIN_EDITS} alternating edits since step {since:,}, "
        seen += f"from {low:.3g} to {high:.3g}."
        remedies = (
            Remedy(
                "Keep the smallest of these learning rates for a few hundred steps", {"lr": first}
            ),
            Remedy(
                f"Compare first: dbg.fork(lr={high:.3g}) from the current step, and keep the better"
            ),
        )
        lr = snapshot.series["lr"]
        return Symptom(
            float(self.MIN_EDITS), float(self.MIN_EDITS), since, seen, remedies,
            downsampled(lr.mean[lr.step >= since - 10]),
        )  # fmt: skip

    def _edits(self, changes: tuple[ControlChange, ...]) -> Iterator[ControlChange]:
        """Edits that changed the learning rate by half or more."""
        for change in changes:
            numbers = change.old, change.new
            if change.control != "lr" or change.status != "applied":
                continue
            if all(isinstance(number, int | float) and number > 0 for number in numbers):
                ratio = max(numbers) / min(numbers)
                if ratio >= self.MIN_FACTOR:
                    yield change

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5), "lr": np.full(400, 0.01)}
        rates = (0.1, 0.01, 0.1, 0.01, 0.1, 0.01)
        made = tuple(
            ControlChange(100 + 40 * i, 0, 0.0, "lr", old, new, "api", "", "applied")
            for i, (old, new) in enumerate(pairwise(rates))
        )
        return example(loss, changes=made), example(loss, changes=made[:2])
