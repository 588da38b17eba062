"""Training as tutorials write it: what nbdebug is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

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
            batch = self.next_indices()
            loss = self.loss_fn(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())

    def next_indices(self) -> torch.Tensor:
        """Indices of the next batch."""
        if not len(self.left):
            self.left = torch.randperm(len(self.data[0]), generator=self.order)
        batch, self.left = self.left[: self.batch], self.left[self.batch :]
        return batch


class Passes:
    """Shuffled passes over tensors, batch by batch."""

    def __init__(self, data: Data, batch: int) -> None:
        self._data, self._batch = data, batch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        X, y = self._data
        for batch in torch.randperm(len(X)).split(self._batch):
            yield X[batch], y[batch]


class OwnLoop:
    """A loop over passes, as one writes it, bare and watched."""

    def __init__(self, model: nn.Module, data: Data, loss_fn: LossFn, batch: int) -> None:
        self.model, self.loss_fn = model, loss_fn
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        self.passes = Passes(data, batch)
        self._bare = (one for _ in itertools.count() for one in self.passes)
        self.losses: list[float] = []

    def train(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        for x, y in batches:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())

    def run(self, steps: int) -> None:
        """Make steps without nbdebug."""
        self.train(itertools.islice(self._bare, steps))
