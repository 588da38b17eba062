"""Gradient clipping mode."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

MODES = (
    ("off", "Off"),
    ("norm", "Global norm"),
    ("value", "Value"),
    ("parameter", "Each parameter's norm"),
    ("layer", "Each layer's norm"),
    ("adaptive", "Adaptive (AutoClip)"),
)


class ClipMode(Control):
    """Gradient clipping method: off, norm, value, parameter, layer or adaptive."""

    name = "clip_mode"
    label = "Clipping"
    order = 30

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Global norm (Keras: global_clipnorm) scales all gradients by one factor. Each "
            "parameter (Keras: clipnorm) and Each layer scale separately. Value clamps each "
            "entry. Adaptive is Global norm with a threshold from recent norms (Clip "
            "percentile). Changes take effect at the next step.",
            choices=MODES,
        )

    def read(self, session: TrainingState) -> str:
        return session.clipping.mode

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, [mode for mode, _ in MODES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.clipping.mode = value
        return ""
