"""Warm-up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbdebug.controls.base import Control, require_available, whole_number
from nbdebug.controls.schedule import describe
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class WarmupSteps(Control):
    """Number of linear warm-up steps before the schedule; 0 means no warm-up.

    The first of N steps uses 1/(N+1) of the learning rate; after N steps the schedule starts
    with the full learning rate (`torch.optim.lr_scheduler.LinearLR`). A completed warm-up is not
    repeated when the schedule changes; a new number of steps starts a new warm-up.
    """

    name = "warmup_steps"
    label = "Warm-up"
    order = 15

    def spec(self, session: TrainingState) -> ControlSpec:
        own = not session.schedule.plan.needs("warmup")
        return ControlSpec(
            self.name,
            self.label,
            "int",
            "Steps in which the learning rate rises linearly before the schedule starts. Changes "
            "take effect at the next step: warm-up and schedule restart.",
            low=0,
            high=max(100, session.schedule.fallback),
            step=1,
            unit="steps",
            unavailable="nbdebug does not change your own schedule." if own else "",
            advanced=True,
            group="Schedule",
            plotted=False,
        )

    def read(self, session: TrainingState) -> int:
        return session.schedule.plan.warmup

    def validate(self, session: TrainingState, value: Any) -> int:
        require_available(self.spec(session))
        return whole_number(self.name, value, 0)

    def apply(self, session: TrainingState, value: int) -> str:
        schedule = session.schedule
        schedule.follow(replace(schedule.plan, warmup=value))
        return describe(session)
