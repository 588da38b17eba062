"""Term of a loss that compares outputs with data, and the best constant output for it."""

from __future__ import annotations

import torch

from nbdebug.model.loss_kind import KNOWN_LOSSES, loss_name
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._best_constant import BestConstant
from nbdebug.probes.base import Probe, Values

TRIES = 3


class DataTerm(Probe):
    """Mean loss of the one criterion of torch in a loss that has more terms: `data_term`.

    `constant_data_term` is what the best constant output over all measured steps gives for the same
    batch. Both are the mean over all elements, without the factor of the term in the loss, less
    the smallest that is possible: the entropy of targets between 0 and 1. Measured in loops and
    in a `step_fn`, where the targets are those of the batch.
    """

    name = "data_term"
    cost = "cheap"
    every = 20
    order = 43
    reads_outputs = True

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self.idle = session.loss_fn is not None
        self._best, self._tried, self._alone = BestConstant(""), 0, False

    def read(self, step: int) -> Values:
        compared = self._session.compared
        if compared is None:
            return {}
        outputs, targets, kind = compared
        if targets is None or not kind:
            return {}
        if self._is_alone(outputs, targets):
            return {}
        if self._best.kind != kind:
            self._best = BestConstant(kind)
        self._best.add(outputs, targets)
        floor = _least(targets) if kind == "binary" else 0.0
        found = KNOWN_LOSSES[kind](outputs, targets) - floor
        return {"data_term": found, "constant_data_term": self._best.on(outputs, targets) - floor}

    def _is_alone(self, outputs: torch.Tensor, targets: torch.Tensor) -> bool:
        """True if the loss is this term alone, which `constant_loss` measures."""
        if self._tried < TRIES and not self._alone:
            self._tried += 1
            self._alone = bool(loss_name(outputs, targets, self._session.loss))
        return self._alone


def _least(targets: torch.Tensor) -> torch.Tensor:
    """Mean entropy of targets between 0 and 1."""
    entropy: torch.Tensor = torch.special.entr(targets) + torch.special.entr(1 - targets)
    return entropy.mean()
