"""Clipping of the gradient with respect to the inputs of recurrent layers."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ClipRecurrent(Control):
    """Largest entry of the gradient with respect to the inputs of RNN, LSTM and GRU; 0 is off."""

    name = "clip_recurrent"
    label = "RNN input clipping"
    order = 48

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "" if session.recurrent.layers else "the model has no RNN, LSTM or GRU."
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Clamp the entries of the gradient with respect to the inputs of recurrent layers; "
            "0 switches clipping off. Changes take effect at the next step.",
            low=0.0,
            high=10.0,
            step=0.1,
            unavailable=missing,
            advanced=True,
            group="Clipping",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float:
        return session.recurrent.limit

    def validate(self, session: TrainingState, value: Any) -> float:
        require_available(self.spec(session))
        return number(self.name, value, 0.0, math.inf)

    def apply(self, session: TrainingState, value: float) -> str:
        session.recurrent.limit = value
        return ""
