"""Metrics on the training batch."""

from __future__ import annotations

from nbdebug.model.metrics import averaged
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class Metrics(Probe):
    """Metrics of the session on the training batch: `accuracy` for classification.

    For a step of several batches they are averaged over the samples.
    """

    name = "metrics"
    order = 40

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._parts: list[tuple[int, Values]] = []

    def begin(self, step: int) -> None:
        self._parts = []

    def after_batch(self, step: int, samples: int) -> None:
        self._parts.append((samples, self._measured()))

    def read(self, step: int) -> Values:
        return averaged(self._parts) if self._parts else self._measured()

    def _measured(self) -> Values:
        return self._session.metrics.measure(self._session.outputs, self._session.targets)
