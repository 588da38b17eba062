"""What happens to a step whose loss or gradient is not finite."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (("stop", "Stop"), ("leave_out", "Leave the batch out"))


class NotFinite(Control):
    """Whether training stops, or leaves the batch out and goes on."""

    name = "not_finite"
    label = "NaN or infinity"
    order = 75

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "What to do when a loss or a gradient is not finite; the update is not made either "
            "way. Stop: pause and look at the last steps again. Leave the batch out: write it "
            "down and go on with the next one. Takes effect at the next step.",
            choices=CHOICES,
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> str:
        return "leave_out" if session.leaving_out else "stop"

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, [name for name, _ in CHOICES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.leaving_out = value == "leave_out"
        return ""
