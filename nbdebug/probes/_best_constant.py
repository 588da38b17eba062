"""Loss of the best constant output, over the targets seen so far."""

from __future__ import annotations

import math

import torch

from nbdebug.model.precision import wide
from nbdebug.probes._class_counts import class_counts

MAX_SAMPLES, MIN_SAMPLES = 8192, 256


class BestConstant:
    """Loss of the best constant output, over up to 8,192 samples.

    Args:
        kind: name of the loss in `loss_kind.KNOWN_LOSSES`.

    Attributes:
        value: NaN before 256 samples are known.
    """

    def __init__(self, kind: str) -> None:
        self.kind, self._count = kind, 0
        self._sums = torch.zeros(0)
        self.value: torch.Tensor | float = math.nan

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Add the targets of a batch, until there are enough."""
        if self._count < MAX_SAMPLES:
            self._take(outputs, targets)
            self.value = self._constant() if self._count >= MIN_SAMPLES else math.nan

    def on(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean loss of the best constant on one batch; NaN before 256 samples are known."""
        if self._count < MIN_SAMPLES:
            return torch.full((), math.nan)
        found, xlogy = self._sums_of(outputs, targets), torch.special.xlogy
        loss: torch.Tensor
        if self.kind == "cross_entropy":
            loss = -xlogy(found, self._sums / self._sums.sum()).sum() / found.sum()
            return loss
        mean, (sums, squares) = self._sums[0] / self._count, found / len(targets)
        if self.kind == "binary":
            loss = -(xlogy(sums, mean) + xlogy(1 - sums, 1 - mean)).mean()
        else:
            loss = (squares - 2 * sums * mean + mean * mean).mean()
        return loss

    def _sums_of(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Counts of the classes of a batch [C], or sums and sums of squares of numbers [2, K]."""
        if self.kind == "cross_entropy":
            labels, classes = targets.flatten(), outputs.shape[1]
            return class_counts(labels, (labels >= 0) & (labels < classes), classes)
        rows = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
        rows = wide(rows)
        return torch.stack([rows.sum(0), rows.square().sum(0)])

    def _take(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        found = self._sums_of(outputs, targets)
        known = self._sums.shape == found.shape
        self._sums = self._sums + found if known else found
        self._count = self._count + len(targets) if known else len(targets)

    def _constant(self) -> torch.Tensor:
        entropy = torch.special.entr
        if self.kind == "cross_entropy":
            found: torch.Tensor = entropy(self._sums / self._sums.sum()).sum()
            return found
        mean, square = (part / self._count for part in self._sums)
        found = square - mean * mean
        if self.kind == "binary":
            found = entropy(mean) + entropy(1 - mean)
        return found.mean()
