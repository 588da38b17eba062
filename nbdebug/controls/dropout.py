"""Dropout probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.controls._by_layer import collapse_by_layer, expand_by_layer, former_by_layer
from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.names import unknown_name
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState


class Dropout(Control):
    """Dropout probability of all dropout layers or, given as a dict, of some."""

    name = "dropout"
    label = "Dropout"
    order = 80

    def spec(self, session: TrainingState) -> ControlSpec:
        missing = "" if session.dropouts else "the model has no dropout layer."
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Probability of dropping a unit during training. Changes take effect at the next step.",
            low=0.0,
            high=0.95,
            step=0.05,
            members=tuple(session.dropouts),
            unavailable=missing,
        )

    def read(self, session: TrainingState) -> float | dict[str, float]:
        values = {name: site.get() for name, site in session.dropouts.items()}
        return collapse_by_layer(values, 0.0)

    def validate(self, session: TrainingState, value: Any) -> float | dict[str, float]:
        require_available(self.spec(session))
        if not isinstance(value, Mapping):
            return number(self.name, value, 0.0, 1.0, high_open=True)
        for layer in value:
            if layer not in session.dropouts:
                raise ControlValueError(unknown_name("dropout layer", layer, session.dropouts))
        return {
            layer: number(f"dropout of {layer}", p, 0.0, 1.0, high_open=True)
            for layer, p in value.items()
        }

    def anchor(self, session: TrainingState) -> Any:
        return {name: site.module for name, site in session.dropouts.items()}

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        return former_by_layer(self.name, old, anchor, self.anchor(session))

    def apply(self, session: TrainingState, value: float | dict[str, float]) -> str:
        for layer, p in expand_by_layer(value, session.dropouts).items():
            session.dropouts[layer].set(p)
        return ""
