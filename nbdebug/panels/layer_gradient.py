"""Gradient norm of one layer's parameters over time."""

from __future__ import annotations

from collections.abc import Mapping

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import OneLayer, by_parameter


class LayerGradient(OneLayer):
    """Gradient norm of the first parameters of the layer."""

    name = "layer_gradient"
    order = 15
    title = "Gradient norm"
    help = "L2, before clipping"
    missing = "No gradient of {layer} was measured."
    weightless = "{layer} has no weights, so it has no gradient."

    def lines_of(self, layer: NetworkLayer) -> Mapping[str, str]:
        return by_parameter(layer, "grad_norm")
