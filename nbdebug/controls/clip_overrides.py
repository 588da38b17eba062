"""Clip thresholds of single layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nbdebug.controls._by_layer import collapse_by_layer
from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.clipping.settings import matching_layers
from nbdebug.model.training_state import TrainingState


class ClipOverrides(Control):
    """Clip thresholds by layer, as `{"head": 100.0, "rnn": 10.0}`; 0 means the common threshold.

    A key is the name of a layer, the name of a module that contains layers, or a shell pattern.
    Layers without a key keep their threshold. Output layers often get a larger threshold than
    hidden layers.
    """

    name = "clip_overrides"
    label = "Per-layer threshold"
    order = 46

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Clip threshold of one layer, used if Clipping is 'Each layer's norm'; 0 means the "
            "value of Clip threshold. Changes take effect at the next step.",
            low=0.0,
            high=100.0,
            step=0.5,
            members=tuple(session.clipping.layers),
            idle=session.clipping.mode != "layer",
            advanced=True,
            group="Clipping",
            plotted=False,
        )

    def read(self, session: TrainingState) -> float | dict[str, float]:
        clipping = session.clipping
        values = {layer: clipping.overrides.get(layer, 0.0) for layer in clipping.layers}
        return collapse_by_layer(values, 0.0)

    def validate(self, session: TrainingState, value: Any) -> dict[str, float]:
        layers = session.clipping.layers
        if not isinstance(value, Mapping):
            return dict.fromkeys(layers, number(self.name, value, 0.0, math.inf))
        return {
            layer: number(f"clip_overrides of {pattern}", limit, 0.0, math.inf)
            for pattern, limit in value.items()
            for layer in matching_layers(str(pattern), layers)
        }

    def apply(self, session: TrainingState, value: Mapping[str, float]) -> str:
        clipping = session.clipping
        merged = {**clipping.overrides, **value}
        clipping.overrides = {layer: limit for layer, limit in merged.items() if limit > 0}
        return (
            ""
            if clipping.mode == "layer"
            else "These thresholds are used only if clip_mode is 'layer'."
        )
