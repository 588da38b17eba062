"""Detects a schedule that reverses a reduction of the learning rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LoopSchedule
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class ScheduleUndoesEdit(Rule):
    """You lowered the learning rate, and the schedule has raised it again.

    A warm-up or a restart continues after an edit: the edit scales the rest of the schedule and
    does not stop the schedule. A scheduler that a loop of your own steps may also compute its
    rates without regard to the edit. A learning rate that you raised yourself, also in a fork,
    is no symptom.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "schedule_undoes_edit"
    title = "The schedule undoes an edit"
    source = "nbdebug; an edit by half or more, undone within 300 steps"
    needs = ("lr",)

    MIN_FACTOR = 1.5
    MAX_STEPS = 300

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        edit = self._last(snapshot.changes)
        if edit is None or not 0 < snapshot.status.step - edit.step <= self.MAX_STEPS:
            return None
        lr = snapshot.series["lr"]
        value = float(lr.last[-1])
        if not edit.new * self.MIN_FACTOR <= edit.old <= value:
            return None
        if not self._rises_by_itself(lr, edit.step, snapshot.changes):
            return None
        seen = f"Lowered from {edit.old:.3g} to {edit.new:.3g} at step {edit.step:,}; the learning "
        seen += f"rate is now {value:.3g}."
        remedies = _remedies(snapshot, edit)
        evidence = downsampled(lr.mean[lr.step >= edit.step - 10])
        return Symptom(value, float(edit.old), edit.step, seen, remedies, evidence)

    def _rises_by_itself(self, lr: Series, since: int, changes: tuple[ControlChange, ...]) -> bool:
        """True if the learning rate rose after a step at places without a change of a control."""
        made = np.array([change.step for change in changes if change.status == "applied"])
        ends = zip(pairwise(lr.step), pairwise(lr.last), strict=True)
        return any(
            now > before and end > since and not bool(((made > begin) & (made <= end)).any())
            for (begin, end), (before, now) in ends
        )

    def _last(self, changes: tuple[ControlChange, ...]) -> ControlChange | None:
        """The last edit of the learning rate; None if schedule or optimizer changed since."""
        for change in reversed(changes):
            numbers = isinstance(change.old, float) and isinstance(change.new, float)
            if change.status == "applied" and change.control in ("lr", "schedule", "optimizer"):
                return change if change.control == "lr" and numbers else None
        return None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        edit = ControlChange(300, 0, 0.0, "lr", 0.05, 0.01, "api", "", "applied")
        warming = np.linspace(0.0, 0.1, 400)
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "lr": warming}, changes=(edit,)),
            example({**loss, "lr": np.full(400, 0.01)}, changes=(edit,)),
        )


def _remedies(snapshot: Snapshot, edit: ControlChange) -> tuple[Remedy, ...]:
    by_loop = snapshot.results.of(LoopSchedule)
    if by_loop is not None and by_loop.schedulers:
        return (
            Remedy(
                f"Your loop steps {by_loop.schedulers}, which raised it: give it lower rates "
                "there, or stop calling its step()"
            ),
        )
    return (
        Remedy(
            "Keep the lower learning rate constant",
            {"schedule": "constant", "lr": float(edit.new)},
        ),
        Remedy("Look at the forecast in the Learning rate tab before an edit"),
    )
