"""Learning rate."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.schedule.builders import scale
from nbdebug.model.training_state import TrainingState


class LearningRate(Control):
    """Learning rate of the first parameter group; other groups keep their ratio to it.

    If a schedule is active, the control `lr_change` decides how the schedule continues: scaled
    by the same factor, or starting from the new value.
    """

    name = "lr"
    label = "Learning rate"
    order = 10

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Step size of the optimizer. Changes take effect at the next step. If a schedule is "
            "active, 'When lr changes' decides how it continues.",
            low=1e-6,
            high=10.0,
            step=0.05,
            scale="log",
        )

    def read(self, session: TrainingState) -> float:
        return session.lr

    def validate(self, session: TrainingState, value: Any) -> float:
        rate = number(self.name, value, 0.0, math.inf, low_open=True)
        if session.schedule.on_lr == "continue" and rate != self.read(session):
            session.schedule.check_can_continue()
        return rate

    def apply(self, session: TrainingState, value: float) -> str:
        before = session.lr
        note = session.schedule.set_lr(value, session.lr_leader, session.lr_ratios)
        if (beside := session.loop_schedulers()) and before and session.lr != before:
            scale(session.optimizer, beside, session.lr / before)
            return "The scheduler of the loop was scaled by the same factor."
        return note
