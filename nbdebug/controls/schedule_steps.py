"""Length of the schedule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from nbdebug.controls.base import Control, whole_number
from nbdebug.controls.schedule import describe
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ScheduleSteps(Control):
    """Length of cosine and one-cycle, or of one period of the other schedules, in steps.

    0 means the remaining steps of `run(steps=...)` or `run(epochs=...)` at the time at which the
    schedule is chosen, else 10 epochs (1,000 steps for a stream); step and warm restarts use a
    third of that as their period.
    """

    name = "schedule_steps"
    label = "Schedule length"
    order = 13

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "int",
            "Length of cosine and one-cycle, or steps between two drops or restarts; 0 means the "
            "remaining steps of the run. Changes take effect at the next step: the schedule "
            "restarts from the current learning rate.",
            low=0,
            high=max(100, 10 * session.schedule.fallback),
            step=1,
            unit="steps",
            idle=not session.schedule.plan.needs("length"),
            advanced=True,
            group="Schedule",
            plotted=False,
        )

    def read(self, session: TrainingState) -> int:
        return session.schedule.plan.length or 0

    def validate(self, session: TrainingState, value: Any) -> int:
        return whole_number(self.name, value, 0)

    def apply(self, session: TrainingState, value: int) -> str:
        schedule = session.schedule
        schedule.follow(replace(schedule.plan, length=value or None))
        if schedule.plan.needs("length"):
            return describe(session)
        return "The active schedule has no length; choose another schedule to use this one."

    def series(self, session: TrainingState) -> float:
        schedule = session.schedule
        return float(schedule.length()) if schedule.plan.needs("length") else math.nan
