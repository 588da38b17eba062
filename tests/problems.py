"""Toy problems as factories, and the plain loop that everything is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from nbdebug.examples.data import CLASSES, FEATURES, SAMPLES, blobs, images
from nbdebug.examples.networks import tiny_cnn

__all__ = [
    "CLASSES",
    "FEATURES",
    "SAMPLES",
    "Numbers",
    "PlainLoop",
    "blobs",
    "images",
    "same_weights",
    "tiny_cnn",
    "tiny_mlp",
]


def tiny_mlp(seed: int = 0, dropout: float = 0.3) -> nn.Sequential:
    """Linear, BatchNorm, Dropout, ReLU, Linear."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(FEATURES, 16),
        nn.BatchNorm1d(16),
        nn.Dropout(dropout),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )


class Numbers(Dataset[int]):
    """Samples that are their own index."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> int:
        return index


@dataclass
class PlainLoop:
    """Training as PyTorch's tutorials write it, with edits at given steps.

    Attributes:
        at: by step, a function of this loop that runs before it.
    """

    model: nn.Module
    data: tuple[torch.Tensor, torch.Tensor]
    optimizer: torch.optim.Optimizer
    batch_size: int = 32
    seed: int = 0
    at: Mapping[int, Callable[[PlainLoop], Any]] = field(default_factory=dict)
    clip: Callable[[list[nn.Parameter]], Any] | None = None
    after: Callable[[], Any] | None = None
    losses: list[float] = field(default_factory=list)

    def run(self, steps: int) -> PlainLoop:
        X, y = self.data
        loss_fn = nn.CrossEntropyLoss()
        order = torch.Generator().manual_seed(self.seed)
        torch.manual_seed(self.seed)
        left = torch.empty(0, dtype=torch.int64)
        for step in range(steps):
            if step in self.at:
                self.at[step](self)
            if not len(left):
                left = torch.randperm(len(X), generator=order)
            batch, left = left[: self.batch_size], left[self.batch_size :]
            loss = loss_fn(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            if self.clip is not None:
                self.clip(list(self.model.parameters()))
            self.optimizer.step()
            if self.after is not None:
                self.after()
            self.losses.append(loss.item())
        return self


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Parameters and buffers equal to the bit, by name."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(value, right[name]) for name, value in left.items()
    )
