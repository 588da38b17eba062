"""Statistics that BatchNorm normalises by."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice, require_available
from nbdebug.controls.batch_size import refuse_single_samples
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (("track", "Update"), ("freeze", "Frozen"))


class BatchNormStatistics(Control):
    """BatchNorm statistics: of each batch, or frozen running statistics as in eval mode."""

    name = "bn_statistics"
    label = "BatchNorm statistics"
    order = 94

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "the model has no BatchNorm layer with running statistics."
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Update: normalise by the statistics of the batch and update the running statistics. "
            "Frozen: normalise by the running statistics without updating them; weight and bias "
            "keep learning. Changes take effect at the next step.",
            choices=CHOICES,
            unavailable="" if session.batch_norms.layers else missing,
            advanced=True,
            group="Dropout and BatchNorm",
        )

    def read(self, session: TrainingState) -> str:
        return "freeze" if session.batch_norms.frozen else "track"

    def validate(self, session: TrainingState, value: Any) -> str:
        require_available(self.spec(session))
        chosen = choice(self.name, value, [name for name, _ in CHOICES])
        if chosen != self.read(session) or session.batch_norms.partly_frozen:
            size = session.batching.size if chosen == "track" else 0
            refuse_single_samples(self.name, session, size, "thawed")
        return chosen

    def apply(self, session: TrainingState, value: str) -> str:
        session.batch_norms.freeze(value == "freeze")
        return ""
