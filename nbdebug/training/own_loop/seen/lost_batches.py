"""Gradients of batches that a loop clears before an update has used them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import LostBatches
from nbdebug.model.origin.source_line import user_line
from nbdebug.training.own_loop.gradient_marks import Marks, gradient_marks

# Updates in a row before which as many batches are lost; gradients of which the numbers are read.
ALIKE, MAX_READ = 3, 512
Named = Sequence[tuple[str, nn.Parameter]]


class SeenGradients:
    """Counts batches whose gradients were all cleared, and no optimizer had made an update.

    A batch that gets a second backward pass, as with adversarial samples, is not lost by the first
    one. Batches that are left out now and then, such as for a gradient that is too large, are of
    no number that comes again.
    """

    def __init__(self) -> None:
        self._history = History()
        self._parameters: Named = ()
        self._alike = self._last = self._read = self._batch = 0
        self.forget()

    def attach(self, history: History, parameters: Named) -> None:
        """Set where what is found is written, and the parameters of the only optimizer."""
        self._history, self._parameters = history, parameters

    def forget(self) -> None:
        """Begin anew, as behind an update of another optimizer or steps on trial."""
        self._marks: Marks | None = None
        self._gathered = self._lost = self._of = 0

    def next_batch(self) -> None:
        """See that a batch is over."""
        self._batch += 1

    def before_backward(self) -> None:
        """See if the gradients of the batches before are gone."""
        earlier = self._marks is not None and self._of != self._batch
        if earlier and self._are_cleared(gradient_marks(self._parameters)):
            self._lost, self._gathered = self._lost + self._gathered, 0

    def _are_cleared(self, now: Marks) -> bool:
        pairs = [(mark, one) for mark, one in zip(self._marks or [], now, strict=False) if mark]
        if not pairs or any(mark == one for mark, one in pairs):
            return False
        left = [parameter.grad for _, parameter in self._parameters]
        grads = [grad for grad in left if grad is not None]
        if not grads:
            return True
        self._read += 1
        return self._read <= MAX_READ and not bool(torch.stack([g.any() for g in grads]).any())

    def passed_back(self) -> None:
        """See a backward pass that gave gradients."""
        if self._marks is None or self._of != self._batch or not self._gathered:
            self._gathered += 1
        self._marks, self._of = gradient_marks(self._parameters), self._batch

    def updated(self, step: int) -> None:
        """Judge the batches since the last update."""
        lost, used = self._lost, self._gathered
        self.forget()
        self._alike = self._alike + 1 if lost and lost == self._last else int(lost > 0)
        self._last = lost
        told = self._history.results.of(LostBatches)
        if self._alike == ALIKE and used:
            self._history.set_result(LostBatches(step, lost, used, user_line()))
        elif not lost and told is not None and told.step is not None:
            self._history.set_result(LostBatches(None))
