"""Momentum of BatchNorm's running statistics."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from nbdebug.controls._by_layer import (
    collapse_by_layer,
    expand_by_layer,
    former_by_layer,
    validate_by_layer,
)
from nbdebug.controls.base import Control, number, require_available
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState


class BatchNormMomentum(Control):
    """Weight of the newest batch in the running statistics of BatchNorm layers."""

    name = "bn_momentum"
    label = "BatchNorm momentum"
    order = 92

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Weight of the newest batch in the running mean and variance of BatchNorm layers, "
            "which eval mode uses. Changes take effect at the next step.",
            low=0.0,
            high=1.0,
            step=0.01,
            members=tuple(_layers(session)),
            unavailable=_missing(session),
            idle=session.batch_norms.frozen,
            advanced=True,
            group="Dropout and BatchNorm",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float | dict[str, float]:
        return collapse_by_layer(
            {name: _momentum(norm) for name, norm in _layers(session).items()}, 0.0
        )

    def validate(self, session: TrainingState, value: Any) -> float | dict[str, float]:
        require_available(self.spec(session))
        return validate_by_layer(
            self.name, value, _layers(session), lambda name, v: number(name, v, 0, 1)
        )

    def anchor(self, session: TrainingState) -> Any:
        return _layers(session)

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        return former_by_layer(self.name, old, anchor, self.anchor(session))

    def apply(self, session: TrainingState, value: float | dict[str, float]) -> str:
        norms = _layers(session)
        for layer, momentum in expand_by_layer(value, norms).items():
            norms[layer].momentum = momentum
        return "The BatchNorm statistics are frozen now." if session.batch_norms.frozen else ""


def _layers(session: TrainingState) -> dict[str, _BatchNorm]:
    """BatchNorm layers with a momentum; a momentum of None averages over all batches."""
    norms = session.batch_norms.layers.items()
    return {name: norm for name, norm in norms if norm.momentum is not None}


def _momentum(norm: _BatchNorm) -> float:
    return 0.0 if norm.momentum is None else float(norm.momentum)


def _missing(session: TrainingState) -> str:
    if not session.batch_norms.layers:
        return "the model has no BatchNorm layer with running statistics."
    if not _layers(session):
        return "the BatchNorm layers average over all batches (momentum=None)."
    return ""
