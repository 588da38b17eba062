"""Learning rate."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.optimizers import scale_schedules, set_option
from nbdebug.model.subject import Subject


class LearningRate(Control):
    """Learning rate of the first parameter group; other groups keep their ratio to it.

    A schedule goes on from the new value: what it computes from is scaled by the same
    factor.
    """

    name = "lr"
    label = "Learning rate"
    order = 10

    def spec(self, session: Subject) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Size of an update. Takes effect at the next step; a schedule goes on from it.",
            low=1e-6,
            high=10.0,
            step=0.05,
            scale="log",
        )

    def read(self, session: Subject) -> float:
        return float(session.optimizer.param_groups[session.lr_leader]["lr"])

    def validate(self, session: Subject, value: Any) -> float:
        return number(self.name, value, 0.0, math.inf, low_open=True)

    def apply(self, session: Subject, value: float) -> str:
        old = self.read(session)
        schedulers = session.optimizers.schedulers
        if value == old:
            return ""
        for group, ratio in zip(session.optimizer.param_groups, session.lr_ratios, strict=True):
            set_option(group, "lr", value * ratio)
        if not schedulers:
            return ""
        if old == 0.0:
            return "The schedule stands at 0 and was left as it is."
        scale_schedules(session.optimizer, schedulers, value / old)
        return "The schedule was scaled by the same factor."
