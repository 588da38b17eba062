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
        leader = session.decays.leader(session.optimizer)
        return float(session.optimizer.param_groups[leader].get("weight_decay", 0.0))

    def validate(self, session: TrainingState, value: Any) -> float:
        require_available(self.spec(session))
        return number(self.name, value, 0.0, math.inf)

    def apply(self, session: TrainingState, value: float) -> str:
        decays = session.decays.values(session.optimizer, value)
        for group, decay in zip(session.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        return ""

    def anchor(self, session: TrainingState) -> Any:
        return session.optimizer.param_groups[session.decays.leader(session.optimizer)]

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        return session.decays.former(session.optimizer, anchor, old, new)
