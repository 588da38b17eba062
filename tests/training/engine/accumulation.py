"""Gradient accumulation as a plain PyTorch loop writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

N = 90
DRAWN = torch.Generator().manual_seed(3)
X = torch.randn(N, 6, generator=DRAWN)
Y = torch.randint(0, 3, (N,), generator=DRAWN)
Loss = Callable[[nn.Module, Any], Any]


def net(dropout: float = 0.3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)
    )


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


@dataclass
class PlainLoop:
    """An update after every `accumulate` batches, and at the end of an epoch.

    Attributes:
        at: by step, a function of this loop that runs before it.
        batches: returns the batches of an epoch instead of `batch_size` samples each.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    accumulate: int = 4
    batch_size: int = 8
    loss: Loss = cross_entropy
    clip: Callable[[Any], Any] | None = None
    scaler: torch.amp.GradScaler | None = None
    at: Mapping[int, Callable[[PlainLoop], Any]] = field(default_factory=dict)
    batches: Callable[[], Iterator[Any]] | None = None
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def run(self, steps: int) -> PlainLoop:
        torch.manual_seed(0)
        order = torch.Generator().manual_seed(0)
        while len(self.losses) < steps:
            self._epoch(steps, torch.randperm(N, generator=order))
        return self

    def _epoch(self, steps: int, left: torch.Tensor) -> None:
        ready = None if self.batches is None else list(self.batches())
        while (len(left) if ready is None else ready) and len(self.losses) < steps:
            self.at.get(len(self.losses), lambda loop: None)(self)
            parts: Any = []
            while len(parts) < self.accumulate and (len(left) if ready is None else ready):
                if ready is None:
                    rows, left = left[: self.batch_size], left[self.batch_size :]
                    parts.append((X[rows], Y[rows]))
                else:
                    parts.append(ready.pop(0))
            self._step(parts)

    def _step(self, parts: list[Any]) -> None:
        self.optimizer.zero_grad()
        total = torch.zeros(())
        for part in parts:
            loss = self.loss(self.model, part) / len(parts)
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            total = total + loss.detach()
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip is not None:
            self.clip(parameters)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.losses.append(total.item())
        self.norms.append(norm.item())
        self.samples.append(sum(len(part[1]) for part in parts))
