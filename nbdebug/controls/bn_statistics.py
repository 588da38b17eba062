"""Whether BatchNorm follows the batches."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (("track", "Update"), ("freeze", "Frozen"))


class BatchNormStatistics(Control):
    """Whether BatchNorm normalises by the batch and follows it, or is frozen as in eval mode."""

    name = "bn_statistics"
    label = "BatchNorm statistics"
    order = 94

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "the model has no BatchNorm layer with running statistics."
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Update: normalise by the batch and follow it. Frozen: normalise by the running "
            "statistics and leave them as they are, also while training; weight and bias go on "
            "learning. Takes effect at the next step.",
            choices=CHOICES,
            unavailable="" if session.batch_norms.layers else missing,
            advanced=True,
            group="Dropout and BatchNorm",
        )

    def read(self, session: TrainingState) -> str:
        return "freeze" if session.batch_norms.frozen else "track"

    def validate(self, session: TrainingState, value: Any) -> str:
        require_available(self.spec(session))
        return choice(self.name, value, [name for name, _ in CHOICES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.batch_norms.freeze(value == "freeze")
        return ""
