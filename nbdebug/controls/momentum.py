"""Momentum."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState


class Momentum(Control):
    """Momentum of SGD, Nesterov and RMSprop; the first beta of Adam and AdamW."""

    name = "momentum"
    label = "Momentum"
    order = 60

    def spec(self, session: TrainingState) -> ControlSpec:
        group = session.optimizer.param_groups[0]
        missing = (
            "" if "momentum" in group or "betas" in group else "this optimizer has no momentum."
        )
        meaning = "First beta of Adam" if "betas" in group else "Momentum"
        return ControlSpec(
            self.name,
            self.label,
            "float",
            f"{meaning}: weight of past gradients. Changes take effect at the next step.",
            low=0.0,
            high=0.999,
            step=0.001,
            unavailable=missing,
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> float:
        group = session.optimizer.param_groups[0]
        return float(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))

    def validate(self, session: TrainingState, value: Any) -> float:
        require_available(self.spec(session))
        momentum = number(self.name, value, 0.0, 1.0, high_open=True)
        if momentum == 0.0 and session.optimizer.param_groups[0].get("nesterov"):
            raise ControlValueError("momentum must be above 0 with Nesterov; choose SGD for 0.")
        return momentum

    def apply(self, session: TrainingState, value: float) -> str:
        for group in session.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (value, group["betas"][1])
            else:
                group["momentum"] = value
        _add_buffers(session.optimizer)
        return ""


def _add_buffers(optimizer: torch.optim.Optimizer) -> None:
    """Give RMSprop the buffers that it makes only in its first step, and needs from now on."""
    if not isinstance(optimizer, torch.optim.RMSprop):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] > 0 else ():
            state = optimizer.state.get(parameter)
            if state and "momentum_buffer" not in state:
                # A new dict: others may hold the one from before the change.
                buffer = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                optimizer.state[parameter] = {**state, "momentum_buffer": buffer}
