"""Percentile of recent gradient norms for adaptive clipping."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ClipPercentile(Control):
    """Percentile of the last 1,000 gradient norms, the threshold of adaptive clipping.

    AutoClip (Seetharaman et al. 2020) uses 10: nine of ten steps are clipped.
    """

    name = "clip_percentile"
    label = "Clip percentile"
    order = 44

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Adaptive clipping clips at this percentile of the last 1,000 gradient norms. "
            "Changes take effect at the next step.",
            low=0.0,
            high=100.0,
            step=1.0,
            unit="%",
            idle=session.clipping.mode != "adaptive",
            advanced=True,
            group="Clipping",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float:
        return session.clipping.percentile

    def validate(self, session: TrainingState, value: Any) -> float:
        return number(self.name, value, 0.0, 100.0)

    def apply(self, session: TrainingState, value: float) -> str:
        session.clipping.percentile = value
        return "" if session.clipping.mode == "adaptive" else "Only adaptive clipping uses this."
