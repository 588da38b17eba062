"""Gradient clipping threshold."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls._by_layer import collapse_by_layer, validate_by_layer
from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class ClipThreshold(Control):
    """Threshold of gradient clipping: the largest norm, or entry, that is not clipped.

    Of several optimizers each clips its own gradients; a dict gives them their own thresholds.
    """

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
            members=tuple(session.clipping.parts),
            part="optimizer",
            idle=session.clipping.mode in ("off", "adaptive"),
        )

    def read(self, session: TrainingState) -> float | dict[str, float]:
        clipping = session.clipping
        each = {name: part.threshold for name, part in clipping.parts.items()}
        return collapse_by_layer(each, clipping.threshold)

    def validate(self, session: TrainingState, value: Any) -> float | dict[str, float]:
        parts = session.clipping.parts
        return validate_by_layer(self.name, value, parts, _threshold, "optimizer")

    def apply(self, session: TrainingState, value: float | dict[str, float]) -> str:
        if isinstance(value, dict):
            for name, threshold in value.items():
                session.clipping.parts[name].threshold = threshold
        else:
            session.clipping.threshold = value
        if session.clipping.mode == "adaptive":
            return "Adaptive clipping computes its own threshold; choose another mode."
        return "" if session.clipping.mode != "off" else "Clipping is off; choose a mode to use it."

    def series(self, session: TrainingState) -> float:
        # Adaptive clipping has a threshold of its own.
        return session.clipping.limit


def _threshold(name: str, value: Any) -> float:
    return number(name, value, 0.0, math.inf, low_open=True)
