"""Update ratio of one layer's parameters over time."""

from __future__ import annotations

from collections.abc import Sequence

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import MAX_LINES, OneLayer


class LayerUpdate(OneLayer):
    """Norm of the update over the norm of the weights, of the first parameters of the layer."""

    name = "layer_update"
    order = 16
    title = "Update ratio"
    help = "update over weights; usual: 1e-4 to 1e-2"
    labels = ("weight", "second parameter", "third parameter")
    missing = "no parameters, so no updates."

    def series_of(self, layer: NetworkLayer) -> Sequence[str]:
        return [f"update_ratio/{name}" for name in layer.parameters[:MAX_LINES]]
