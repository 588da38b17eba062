"""Histogram of each parameter's gradient."""

from __future__ import annotations

import torch

from nbdebug.model.freezing import has_trainable_gradient, values_of
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._histogram import histogram
from nbdebug.probes.base import Probe, Values


class GradientHistogram(Probe):
    """Histogram of each parameter's gradient after clipping: `gradient/<parameter>`.

    The probe measures only while its panel is visible, and once if that is opened in a pause.
    """

    name = "gradient_histogram"
    reads_weights = True
    every = 20
    on_demand = True
    paused = True
    order = 50

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._found: dict[str | tuple[str, ...], torch.Tensor | float] = {}

    def before_update(self, step: int) -> None:
        # A loop may clear the gradients right after its update.
        turn = self._session.turn
        for name, parameter in self._session.parameters:
            gradient = parameter.grad if has_trainable_gradient(parameter) else None
            if gradient is not None and (turn is None or name in turn):
                self._found[f"gradient/{name}"] = histogram(values_of(gradient))

    def read(self, step: int) -> Values:
        found, self._found = self._found, {}
        return found

    def cancel(self) -> None:
        self._found = {}
