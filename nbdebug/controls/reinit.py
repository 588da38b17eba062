"""New initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.controls._by_layer import validate_each_layer
from nbdebug.controls.base import Control, choice, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

NO_ACTION = ("", "-")
INITIALISATIONS = (
    ("he", "He"),
    ("xavier", "Xavier"),
    ("orthogonal", "Orthogonal"),
    ("default", "PyTorch default"),
)
UNDO = ("undo", "Undo the last")


class Reinit(Control):
    """New initial weights of all layers or, given as a dict, of some; `undo` restores them.

    This control is an action: its current value is always "". If one initialisation is given
    for all layers, layers that cannot use it (norms, embeddings) do not change. The random
    numbers come from the session: the same run with the same seed draws the same weights.
    """

    name = "reinit"
    label = "Re-initialise"
    order = 98

    def spec(self, session: TrainingState) -> ControlSpec:
        undo = (UNDO,) if session.initialisation.undoable else ()
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Draw new initial weights and clear their optimizer state. Biases become 0, except "
            "with 'PyTorch default'. The change takes effect at the next step; the last one can be "
            "undone.",
            choices=(NO_ACTION, *INITIALISATIONS, *undo),
            members=tuple(session.initialisation.layers),
            unavailable="" if session.initialisation.layers else "no layer can be re-initialised.",
            advanced=True,
            group="Layers",
            action=True,
        )

    def read(self, session: TrainingState) -> str:
        return ""

    def validate(self, session: TrainingState, value: Any) -> str | dict[str, str]:
        spec = self.spec(session)
        require_available(spec)
        if not isinstance(value, Mapping):
            return _possible(session, choice(self.name, value, [kind for kind, _ in spec.choices]))
        if session.initialisation.undoable and "undo" in value.values():
            return _possible(session, "undo")
        kinds = validate_each_layer(self.name, value, spec.members, _kind)
        for layer, kind in kinds.items():
            if kind not in session.initialisation.kinds(layer):
                raise ControlValueError(
                    f"reinit of {layer} must be 'default', got {kind!r}: the layer has no weight "
                    "matrix."
                )
        return kinds

    def apply(self, session: TrainingState, value: str | dict[str, str]) -> str:
        initialisation = session.initialisation
        if value == "undo":
            initialisation.undo()
            return "Weights and optimizer state are those before the last re-initialisation."
        if not isinstance(value, dict):
            value = {
                layer: value
                for layer in initialisation.layers
                if value in initialisation.kinds(layer)
            }
        if not value:
            return ""
        with session.rng:
            initialisation.draw(value, session.optimizer)
        return f"Re-initialised: {', '.join(value)}. Their optimizer state was cleared."


def _possible(session: TrainingState, kind: str) -> str:
    if kind == "undo" and session.initialisation.exchanged:
        raise ControlValueError(
            "The last re-initialisation cannot be undone: the model has other layers or "
            "parameters since, where it had drawn new weights."
        )
    return kind


def _kind(name: str, value: Any) -> str:
    return choice(name, value, [kind for kind, _ in INITIALISATIONS])
