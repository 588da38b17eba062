"""Order of dropout and normalisation."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

LABELS = {
    "as_built": "As built",
    "norm_dropout": "{norm}, then Dropout",
    "dropout_norm": "Dropout, then {norm}",
    "activation_dropout": "{norm}, activation, then Dropout",
    "dropout_last": "Dropout after the last {norm}",
}


class LayerOrderControl(Control):
    """Order of adjacent dropout and normalisation layers."""

    name = "layer_order"
    label = "Layer order"
    order = 90

    def spec(self, session: TrainingState) -> ControlSpec:
        layers = session.layer_order
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Move dropout before or after the adjacent normalisation or activation. Changes "
            "take effect at the next step; weights and optimizer state are kept.",
            choices=tuple(
                (order, LABELS[order].format(norm=layers.norm_word)) for order in layers.available
            ),
            unavailable=layers.reason,
        )

    def read(self, session: TrainingState) -> str:
        return session.layer_order.current

    def validate(self, session: TrainingState, value: Any) -> str:
        if session.layer_order.exchanged and value != "as_built":
            raise ControlValueError(
                f"layer_order is at {self.read(session)!r}, and the model has other layers since: "
                "set it to 'as_built' first, then to the order for all of them."
            )
        if value == session.layer_order.current:
            return str(value)
        require_available(self.spec(session))
        return choice(self.name, value, session.layer_order.available)

    def apply(self, session: TrainingState, value: str) -> str:
        if value == session.layer_order.current:
            return ""
        return session.layer_order.set(value)
