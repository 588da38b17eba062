"""Dead, saturated and near-zero share of one layer's units over time."""

from __future__ import annotations

from collections.abc import Mapping

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import OneLayer

GROUPS = {"near_zero": "near zero", "saturated": "saturated", "dead": "dead"}


class LayerUnits(OneLayer):
    """Share of dead and of saturated units, and of activations near zero."""

    name = "layer_units"
    order = 18
    title = "Dead and saturated units"
    help = "share of the units; near zero: of the activations"
    log = False
    missing = "The output of {layer} was not measured."

    def lines_of(self, layer: NetworkLayer) -> Mapping[str, str]:
        return {f"{group}/{layer.name}": label for group, label in GROUPS.items()}
