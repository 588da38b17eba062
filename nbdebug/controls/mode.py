"""Mode of a model that was passed in eval mode."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice, require_available
from nbdebug.controls.batch_size import refuse_single_samples
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (("as_passed", "As passed"), ("train", "Training mode"))


class ModeControl(Control):
    """Mode of the layers: as the model was passed, or training mode by `model.train()`."""

    name = "mode"
    label = "Mode"
    order = 85

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "no layer that depends on the mode was passed in eval mode."
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "As passed: layers in eval mode stay there; their dropout is off and their BatchNorm "
            "is frozen. Training mode: model.train() is called. Changes take effect at the next "
            "step.",
            choices=CHOICES,
            unavailable="" if session.modes.resting else missing,
            advanced=True,
            group="Dropout and BatchNorm",
        )

    def read(self, session: TrainingState) -> str:
        return session.modes.current

    def validate(self, session: TrainingState, value: Any) -> str:
        if value == session.modes.current:
            return str(value)
        require_available(self.spec(session))
        chosen = choice(self.name, value, [name for name, _ in CHOICES])
        if not session.batch_norms.frozen and chosen == "train":
            refuse_single_samples(self.name, session, session.batching.size, "train")
        return chosen

    def apply(self, session: TrainingState, value: str) -> str:
        session.modes.set(value)
        return ""
