"""Optimizer."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

LABELS = {
    "sgd": "SGD",
    "nesterov": "Nesterov",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "several": "Several",
}


class OptimizerKind(Control):
    """Update rule; weights, learning rates and weight decay do not change."""

    name = "optimizer"
    label = "Optimizer"
    order = 50

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Update rule. Changes take effect at the next step. Weights, learning rate, weight "
            "decay and options of both optimizers do not change; the optimizer state is kept if "
            f"the new optimizer can use it.{_lost(session)}",
            choices=tuple((kind, LABELS.get(kind, kind)) for kind in session.optimizers.kinds),
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> str:
        return session.optimizers.kind

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, session.optimizers.kinds)

    def apply(self, session: TrainingState, value: str) -> str:
        return session.optimizers.switch(value)


def _lost(session: TrainingState) -> str:
    """Options that each choice would leave behind, in sentences."""
    kinds: dict[str, list[str]] = {}
    for kind in session.optimizers.kinds:
        if lost := session.optimizers.lost(kind):
            kinds.setdefault(lost, []).append(LABELS.get(kind, kind))
    return "".join(
        f" Not taken along to {' or '.join(labels)}: {lost}." for lost, labels in kinds.items()
    )
