"""Dead, saturated and near-zero share of one layer's units over time."""

from __future__ import annotations

from collections.abc import Sequence

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import OneLayer


class LayerUnits(OneLayer):
    """Share of dead and of saturated units, and of activations near zero."""

    name = "layer_units"
    order = 18
    title = "Dead and saturated units"
    help = "share of the units; near zero: of the activations"
    labels = ("near zero", "saturated", "dead")
    log = False
    missing = "the output of this layer is not measured."

    def series_of(self, layer: NetworkLayer) -> Sequence[str]:
        return [f"{group}/{layer.name}" for group in ("near_zero", "saturated", "dead")]
