"""A bare loop that another instrument looks into, and the table of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.bare import BareLoop
from benchmarks.workloads import Data, Workload

EVERY = 100


class Peer(BareLoop):
    """The bare loop with an instrument in it.

    Attributes:
        title: of its row; package: name to import, "" if torch is enough.
        rare: True if it does its expensive part every 100 steps only; a block then holds whole
            hundreds.
    """

    title: ClassVar[str]
    package: ClassVar[str] = ""
    rare: ClassVar[bool] = False

    def __init__(self, workload: Workload, data: Data, folder: Path) -> None:
        torch.manual_seed(0)
        super().__init__(workload.model(), data, workload.loss_fn, workload.batch)
        self.named = list(self.model.named_parameters())
        self.folder, self.step = folder, 0
        self.begin()

    def begin(self) -> None:
        """Attach the instrument."""

    def after_backward(self, loss: torch.Tensor) -> None:
        """Look at the gradients of a step."""

    def after_step(self, loss: float) -> None:
        """Log a step."""

    def end(self) -> None:
        """Detach the instrument."""

    def run(self, steps: int) -> None:
        X, y = self.data
        for _ in range(steps):
            batch = self.next_indices()
            loss = self.loss_fn(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.after_backward(loss)
            self.optimizer.step()
            value = loss.item()
            self.losses.append(value)
            self.after_step(value)
            self.step += 1
