"""Gradient norm of one layer's parameters over time."""

from __future__ import annotations

from collections.abc import Sequence

from nbdebug.core.results.network import NetworkLayer
from nbdebug.panels._one_layer import MAX_LINES, OneLayer


class LayerGradient(OneLayer):
    """Gradient norm of the first parameters of the layer."""

    name = "layer_gradient"
    order = 15
    title = "Gradient norm"
    help = "L2, before clipping"
    labels = ("weight", "second parameter", "third parameter")
    missing = "no parameters, so no gradient."

    def series_of(self, layer: NetworkLayer) -> Sequence[str]:
        return [f"grad_norm/{name}" for name in layer.parameters[:MAX_LINES]]
