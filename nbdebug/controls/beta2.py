"""Second beta of Adam."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class Beta2(Control):
    """Second beta of Adam and AdamW, alpha of RMSprop: decay rate of the squared gradients."""

    name = "beta2"
    label = "Second beta"
    order = 65

    def spec(self, session: TrainingState) -> ControlSpec:
        group = session.optimizer.param_groups[0]
        missing = (
            "" if "betas" in group or "alpha" in group else "the optimizer has no second beta."
        )
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Decay rate of the average of squared gradients (beta2 of Adam, alpha of RMSprop). "
            "Changes take effect at the next step.",
            low=0.8,
            high=0.9999,
            step=0.0001,
            unavailable=missing,
            advanced=True,
            group="Optimizer",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float:
        group = session.optimizer.param_groups[0]
        return float(group["betas"][1] if "betas" in group else group.get("alpha", 0.0))

    def validate(self, session: TrainingState, value: Any) -> float:
        require_available(self.spec(session))
        return number(self.name, value, 0.0, 1.0, high_open=True)

    def apply(self, session: TrainingState, value: float) -> str:
        for group in session.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (group["betas"][0], value)
            else:
                group["alpha"] = value
        return ""
