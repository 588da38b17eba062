"""What a new learning rate does to a schedule."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

MODES = (("scale", "Scale the schedule"), ("continue", "Continue from the value"))


class LrChange(Control):
    """Whether a new learning rate scales the schedule, or the schedule continues from it.

    `scale` multiplies all that is still to come by the factor of the change. `continue`
    takes the value as it is: a warm-up under way ends, cosine and one-cycle run from the
    value to 0 over the steps that were left, every other schedule begins anew at it.
    A scheduler of your own continues when it works from the learning rate it finds
    (StepLR, ExponentialLR, CosineAnnealingLR, ...); where it computes each one from its base
    (LambdaLR, OneCycleLR, ...) a new learning rate is refused in this mode.
    """

    name = "lr_change"
    label = "Under a schedule"
    order = 16

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "What a new learning rate does to a running schedule: scale all of it by the same "
            "factor, or let what is left of it begin at the value. Takes effect at the next "
            "change of the learning rate.",
            choices=MODES,
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
