"""Histogram of each layer's output."""

from __future__ import annotations

import torch

from nbdebug.model.module.names import Layer, hooked_layers
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._histogram import histogram
from nbdebug.probes._layer_outputs import LayerOutputs
from nbdebug.probes.base import Probe, Values


class ActivationHistogram(Probe):
    """Histogram of each layer's output: `activation/<layer>`.

    The probe measures only while its panel is visible, and once if that is opened in a pause.
    """

    name = "activation_histogram"
    every = 20
    on_demand = True
    paused = True
    order = 60

    def attach(self, session: TrainingState) -> None:
        self._model = session.model
        self._outputs: LayerOutputs | None = None
        self.follow()
        self._counts: dict[str | tuple[str, ...], torch.Tensor | float] = {}

    def follow(self) -> None:
        self._layers = hooked_layers(self._model)

    def begin(self, step: int) -> None:
        self._counts = {}
        self._outputs = LayerOutputs(self._layers, self._look)

    def _look(self, layer: Layer, output: torch.Tensor) -> None:
        self._counts[f"activation/{layer.name}"] = histogram(output)

    def read(self, step: int) -> Values:
        if self._outputs is not None:
            self.inside += self._outputs.finish()
        return self._counts

    def cancel(self) -> None:
        if self._outputs is not None:
            self._outputs.remove()
            self._outputs = None
