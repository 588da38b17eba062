"""Frozen layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.controls._by_layer import (
    collapse_by_layer,
    expand_by_layer,
    former_by_layer,
    validate_by_layer,
)
from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

CHOICES = (("trainable", "Trainable"), ("frozen", "Frozen"))
STATES = [state for state, _ in CHOICES]


class Frozen(Control):
    """Trainable or frozen parameters, of all layers or, given as a dict, of some."""

    name = "frozen"
    label = "Frozen layers"
    order = 96

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Frozen: parameters get no gradient and no update, and their optimizer state is "
            "kept; BatchNorm still updates its running statistics. Layers that were frozen at "
            "the start can be unfrozen. Changes take effect at the next step.",
            choices=CHOICES,
            members=tuple(session.freezing.members),
            advanced=True,
            group="Layers",
        )

    def read(self, session: TrainingState) -> str | dict[str, str]:
        frozen = session.freezing.frozen
        values = {
            name: "frozen" if name in frozen else "trainable" for name in session.freezing.members
        }
        return collapse_by_layer(values, "trainable")

    def validate(self, session: TrainingState, value: Any) -> str | dict[str, str]:
        layers = session.freezing.members
        if isinstance(value, Mapping):
            # The name of a block means all layers in this block.
            value = {
                layer: part
                for name, part in value.items()
                for layer in (session.freezing.within(str(name)) or (name,))
            }
        found = validate_by_layer(self.name, value, layers, lambda name, v: choice(name, v, STATES))
        frozen = {n: part == "frozen" for n, part in expand_by_layer(found, layers).items()}
        if not session.freezing.trains_with(frozen):
            raise ControlValueError(
                f"{self.name} must leave at least one layer trainable: else nothing can learn. "
                "Name the layers to freeze in one call, as frozen={'0': 'frozen', '2': 'frozen'}."
            )
        return found

    def anchor(self, session: TrainingState) -> Any:
        return {name: held[0] for name, held in session.freezing.members.items()}

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        return former_by_layer(self.name, old, anchor, self.anchor(session))

    def apply(self, session: TrainingState, value: str | dict[str, str]) -> str:
        freezing = session.freezing
        by_layer = expand_by_layer(value, freezing.members)
        frozen = {layer: part == "frozen" for layer, part in by_layer.items()}
        note = session.take_in(freezing.roused(frozen))
        freezing.freeze(frozen)
        return note
