"""Histogram of each parameter's gradient."""

from __future__ import annotations

from nbdebug.model.freezing import has_trainable_gradient
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._histogram import histogram
from nbdebug.probes.base import Probe, Values


class GradientHistogram(Probe):
    """Histogram of each parameter's gradient after clipping: `gradient/<parameter>`.

    The probe measures only while its panel is visible, and once if that is opened in a pause.
    """

    name = "gradient_histogram"
    every = 20
    on_demand = True
    paused = True
    order = 50

    def attach(self, session: TrainingState) -> None:
        self._parameters = session.parameters

    def read(self, step: int) -> Values:
        return {
            f"gradient/{name}": histogram(parameter.grad)
            for name, parameter in self._parameters
            if parameter.grad is not None and has_trainable_gradient(parameter)
        }
