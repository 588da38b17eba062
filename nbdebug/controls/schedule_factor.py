"""Decay factor of the schedule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from nbdebug.controls.base import Control, number
from nbdebug.controls.schedule import describe
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ScheduleFactor(Control):
    """Decay factor of the step, plateau, exponential and 1/t schedules."""

    name = "schedule_factor"
    label = "Schedule factor"
    order = 14

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Factor by which step and plateau multiply the learning rate, and by which "
            "exponential and 1/t decay over the schedule length. Changes take effect at the next "
            "step: the schedule restarts from the current learning rate.",
            low=0.01,
            high=0.99,
            step=0.01,
            idle=not session.schedule.plan.needs("factor"),
            advanced=True,
            group="Schedule",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float:
        return session.schedule.plan.factor

    def validate(self, session: TrainingState, value: Any) -> float:
        return number(self.name, value, 0.0, 1.0, low_open=True, high_open=True)

    def apply(self, session: TrainingState, value: float) -> str:
        schedule = session.schedule
        schedule.follow(replace(schedule.plan, factor=value))
        if schedule.plan.needs("factor"):
            return describe(session)
        return "The active schedule has no factor; choose another schedule to use this one."

    def series(self, session: TrainingState) -> float:
        plan = session.schedule.plan
        return plan.factor if plan.needs("factor") else math.nan
