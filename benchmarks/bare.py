"""Training as tutorials write it: what nbdebug is compared with."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.workloads import Data, LossFn


class BareLoop:
    """Batches from tensors, forward, loss, backward, Adam, loss.item(); nothing else."""

    def __init__(self, model: nn.Module, data: Data, loss_fn: LossFn, batch: int) -> None:
        self.model, self.data, self.loss_fn, self.batch = model, data, loss_fn, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        self.order = torch.Generator().manual_seed(0)
        self.left = torch.empty(0, dtype=torch.int64)
        self.losses: list[float] = []

    def run(self, steps: int) -> None:
        X, y = self.data
        for _ in range(steps):
            if not len(self.left):
                self.left = torch.randperm(len(X), generator=self.order)
            batch, self.left = self.left[: self.batch], self.left[self.batch :]
            loss = self.loss_fn(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
