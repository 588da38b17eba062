"""Update ratio of one layer's parameters over time."""

from __future__ import annotations

from collections.abc import Mapping

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import OneLayer, by_parameter


class LayerUpdate(OneLayer):
    """Norm of the update over the norm of the weights, of the first parameters of the layer."""

    name = "layer_update"
    order = 16
    title = "Update ratio"
    help = "update over weights; usual: 1e-4 to 1e-2"
    missing = "No update of {layer} was measured."
    weightless = "{layer} has no weights, so nothing is updated."

    def lines_of(self, layer: NetworkLayer) -> Mapping[str, str]:
        return by_parameter(layer, "update_ratio")
