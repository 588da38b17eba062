"""Loss of the best constant output."""

from __future__ import annotations

import math

import torch

from nbdebug.model.loss_kind import loss_name
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._class_counts import class_counts
from nbdebug.probes.base import Probe, Values

MAX_SAMPLES, MIN_SAMPLES = 8192, 256


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
        self._kind, self._count, self._tried = "", 0, 0
        self._sums = torch.zeros(0)
        self._found: torch.Tensor | float = math.nan

    def read(self, step: int) -> Values:
        outputs, targets = self._session.in_loss()
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return {}
        outputs, targets = outputs.detach(), targets.detach()
        if not self._kind and self._tried < 3:
            self._tried += 1
            self._kind = loss_name(outputs, targets, self._session.compared_loss)
        if not self._kind:
            return {}
        if self._count < MAX_SAMPLES:
            self._take(outputs, targets)
            self._found = self._constant() if self._count >= MIN_SAMPLES else math.nan
        return {"constant_loss": self._found}

    def _take(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        if self._kind == "cross_entropy":
            labels, classes = targets.flatten(), outputs.shape[1]
            found = class_counts(labels, (labels >= 0) & (labels < classes), classes)
        else:
            rows = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
            found = torch.stack([rows.double().sum(0), rows.double().square().sum(0)])
        known = self._sums.shape == found.shape
        self._sums = self._sums + found if known else found
        self._count = self._count + len(targets) if known else len(targets)

    def _constant(self) -> torch.Tensor:
        entropy = torch.special.entr
        if self._kind == "cross_entropy":
            found: torch.Tensor = entropy(self._sums / self._sums.sum()).sum()
            return found
        mean, square = (part / self._count for part in self._sums)
        found = square - mean * mean
        if self._kind == "binary":
            found = entropy(mean) + entropy(1 - mean)
        return found.mean()
