"""Spread of one layer's activations over time."""

from __future__ import annotations

from collections.abc import Mapping

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import OneLayer


class LayerActivation(OneLayer):
    """Standard deviation of the output of the layer."""

    name = "layer_activation"
    order = 17
    title = "Spread of the activations"
    help = "standard deviation of the output"
    missing = "The output of {layer} was not measured."

    def lines_of(self, layer: NetworkLayer) -> Mapping[str, str]:
        return {f"activation_std/{layer.name}": "standard deviation"}
