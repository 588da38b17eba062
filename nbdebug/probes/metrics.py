"""Metrics on the training batch."""

from __future__ import annotations

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class Metrics(Probe):
    """Metrics of the session on the training batch: `accuracy` for classification."""

    name = "metrics"
    order = 40

    def attach(self, session: TrainingState) -> None:
        self._session = session

    def read(self, step: int) -> Values:
        return self._session.metrics.measure(self._session.outputs, self._session.targets)
