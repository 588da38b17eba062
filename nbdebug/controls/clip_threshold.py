"""Gradient clipping threshold."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ClipThreshold(Control):
    """Threshold of gradient clipping: the largest norm, or entry, that is not clipped."""

    name = "clip_threshold"
    label = "Clip threshold"
    order = 40

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Gradients above this threshold are clipped with the method of the control Clipping. "
            "Changes take effect at the next step.",
            low=1e-3,
            high=1e3,
            step=0.05,
            scale="log",
            idle=session.clipping.mode in ("off", "adaptive"),
        )

    def read(self, session: TrainingState) -> float:
        return session.clipping.threshold

    def validate(self, session: TrainingState, value: Any) -> float:
        return number(self.name, value, 0.0, math.inf, low_open=True)

    def apply(self, session: TrainingState, value: float) -> str:
        session.clipping.threshold = value
        if session.clipping.mode == "adaptive":
            return "Adaptive clipping computes its own threshold; choose another mode."
        return "" if session.clipping.mode != "off" else "Clipping is off; choose a mode to use it."

    def series(self, session: TrainingState) -> float:
        # Adaptive clipping has a threshold of its own.
        return session.clipping.limit
