"""Effect of a new learning rate on a schedule."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

MODES = (("scale", "Scale the schedule"), ("continue", "Continue from the new value"))


class LrChange(Control):
    """Effect of a new learning rate on the schedule: scale the schedule, or continue from it.

    `scale` multiplies the rest of the schedule by the ratio of the new to the old learning rate.
    `continue` starts from the new value: a warm-up ends, cosine and one-cycle decay from the
    value to 0 over the remaining steps, and every other schedule restarts from the value.
    Your own scheduler can continue if it computes the next learning rate from the current one
    (StepLR, ExponentialLR, CosineAnnealingLR, ...); if it computes each learning rate from its
    base value (LambdaLR, OneCycleLR, ...), a new learning rate is refused in this mode.
    """

    name = "lr_change"
    label = "When lr changes"
    order = 16

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Effect of a new learning rate on an active schedule: scale the schedule by the same "
            "factor, or continue it from the new value. A choice takes effect at the next change "
            "of the learning rate.",
            choices=MODES,
            idle=not (session.schedule.running or session.stepped_by_loop),
            advanced=True,
            group="Schedule",
        )

    def read(self, session: TrainingState) -> str:
        return session.schedule.on_lr

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, [mode for mode, _ in MODES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.schedule.on_lr = value
        return ""
