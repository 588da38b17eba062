"""Activation function."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

CHOICES = (
    ("as_built", "As built"),
    ("relu", "ReLU"),
    ("leaky_relu", "LeakyReLU"),
    ("elu", "ELU"),
    ("gelu", "GELU"),
    ("silu", "SiLU"),
    ("tanh", "Tanh"),
)


class Activation(Control):
    """Activation function of all layers: modules, and function calls that torch.fx can trace."""

    name = "activation"
    label = "Activation"
    order = 97

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Replace every ReLU, LeakyReLU, ELU, GELU, SiLU and Tanh: modules, and function "
            "calls (F.relu) if torch.fx can trace forward. Changes take effect at the next step.",
            choices=CHOICES,
            unavailable=session.activations.reason,
            advanced=True,
            group="Layers",
        )

    def read(self, session: TrainingState) -> str:
        return session.activations.current

    def validate(self, session: TrainingState, value: Any) -> str:
        require_available(self.spec(session))
        return choice(self.name, value, [kind for kind, _ in CHOICES])

    def apply(self, session: TrainingState, value: str) -> str:
        return session.activations.set(value)
