"""Response to NaN or Inf in a loss or a gradient."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (("stop", "Stop"), ("exclude", "Exclude the batch"))


class NotFinite(Control):
    """Response to NaN or Inf in loss or gradient: stop, or exclude the batch and continue."""

    name = "not_finite"
    label = "NaN or Inf"
    order = 75

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Response to NaN or Inf in a loss or a gradient; the update is skipped in both "
            "cases. Stop: pause and analyse the last steps. Exclude the batch: record the event "
            "and continue with the next batch. Changes take effect at the next step.",
            choices=CHOICES,
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> str:
        return "exclude" if session.exclude_nonfinite else "stop"

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, [name for name, _ in CHOICES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.exclude_nonfinite = value == "exclude"
        return ""
