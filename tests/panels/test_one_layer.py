"""The plots of one layer: what they say where there is nothing to draw."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.panels.layer_activation import LayerActivation
from nbdebug.panels.layer_gradient import LayerGradient
from nbdebug.panels.layer_units import LayerUnits
from nbdebug.panels.layer_update import LayerUpdate
from nbdebug.panels.network import LAYER
from tests.panels.showing import Shown, context_with, draw, history

LAYERS = (NetworkLayer("0", "Linear", ("0.weight",)), NetworkLayer("1", "ReLU"))
MEASURED = {"activation_std__1": [0.5, 0.4], "near_zero__1": [0.1, 0.1]}


@pytest.mark.parametrize(
    ("kind", "layer", "said"),
    [
        (LayerGradient, "1", "1 ReLU has no weights, so it has no gradient."),
        (LayerUpdate, "1", "1 ReLU has no weights, so nothing is updated."),
        (LayerGradient, "0", "No gradient of 0 Linear was measured."),
        (LayerUpdate, "0", "No update of 0 Linear was measured."),
        (LayerActivation, "0", "The output of 0 Linear was not measured."),
        (LayerActivation, "1", ""),
        (LayerUnits, "1", ""),
    ],
)
def test_a_plot_without_a_curve_says_why(kind, layer, said) -> None:
    shown = Shown()
    context = context_with(shown)
    context.choices.offer(LAYER, "Layer", "Layers", [(one.name, one.title) for one in LAYERS])
    context.choices.pick(LAYER, layer)
    panel = kind(context)
    panel.build()
    made = history(loss=np.ones(2), **MEASURED)
    made.set_result(Network(LAYERS))
    draw(panel, made)
    assert shown.notes[panel.name] == said
