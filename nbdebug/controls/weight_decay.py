"""Weight decay."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class WeightDecay(Control):
    """Weight decay; parameter groups keep their ratio, so a weight decay of 0 stays 0."""

    name = "weight_decay"
    label = "Weight decay"
    order = 70

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "weight_decay" not in session.optimizer.param_groups[0]
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Strength of the pull of weights towards zero. Changes take effect at the next step.",
            low=0.0,
            high=0.1,
            step=0.0005,
            unavailable="this optimizer has no weight decay." if missing else "",
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> float:
        return float(session.optimizer.param_groups[session.decay_leader].get("weight_decay", 0.0))

    def validate(self, session: TrainingState, value: Any) -> float:
        require_available(self.spec(session))
        return number(self.name, value, 0.0, math.inf)

    def apply(self, session: TrainingState, value: float) -> str:
        session.follow_groups()
        groups = session.optimizer.param_groups
        for group, ratio in zip(groups, session.decay_ratios, strict=True):
            group["weight_decay"] = value * ratio
        return ""
