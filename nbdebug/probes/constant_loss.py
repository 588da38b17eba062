"""Loss of the best constant output."""

from __future__ import annotations

import torch

from nbdebug.model.loss_kind import loss_name
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._best_constant import BestConstant
from nbdebug.probes.base import Probe, Values


class ConstantLoss(Probe):
    """Loss of the best constant output, which ignores the inputs: `constant_loss`.

    For cross-entropy this is the entropy of the class frequencies, for binary cross-entropy of
    logits the mean entropy of the outputs, for the mean squared error the variance, over the
    targets of the measured steps, up to 8,192 samples. The probe recognises these losses by
    their value; other losses are not measured.
    """

    name = "constant_loss"
    cost = "cheap"
    every = 20
    order = 42
    reads_outputs = True

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._best, self._tried = BestConstant(""), 0

    def read(self, step: int) -> Values:
        outputs, targets = self._session.in_loss()
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return {}
        outputs, targets = outputs.detach(), targets.detach()
        if not self._best.kind and self._tried < 3:
            self._tried += 1
            self._best = BestConstant(loss_name(outputs, targets, self._session.compared_loss))
        if not self._best.kind:
            return {}
        self._best.add(outputs, targets)
        return {"constant_loss": self._best.value}
