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
    """Steps to the end of a cosine or one-cycle; of one period of the other schedules.

    At 0 a schedule is made for what is left of the run when it is chosen,
    `run(steps=...)` or `run(epochs=...)`, else for 10 epochs (1,000 steps of a stream);
    step and warm restarts take a third of that for their period.
    """

    name = "schedule_steps"
    label = "Schedule length"
    order = 13

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "int",
            "Steps to the end of a cosine or one-cycle, or between two drops or restarts; 0 is "
            "what is left of the run. "
            "Takes effect at the next step: the schedule begins anew, from the learning rate "
            "in force.",
            low=0,
            high=max(100, 10 * session.schedule.fallback),
            step=1,
            unit="steps",
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
        return "The schedule in force has no length; choose one that has."

    def series(self, session: TrainingState) -> float:
        schedule = session.schedule
        return float(schedule.length()) if schedule.plan.needs("length") else math.nan
