"""What sick problems are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.problems import CLASSES, FEATURES, blobs

X, y = blobs()
CE = nn.CrossEntropyLoss()


@dataclass(frozen=True)
class Sick:
    """A training that cannot work; `fault` is the check that tells why."""

    fault: str
    model: Callable[[], nn.Module]
    data: Callable[[], Any] = lambda: (X, y)
    loss: Callable[..., torch.Tensor] = CE
    settings: dict[str, Any] = field(default_factory=dict)


def mlp(*end: nn.Module, out: int = CLASSES, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two layers of 16, and what comes behind them."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, out), *end
    )


def regression(scale: float = 1.0, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    target = X[:, :3].sum(1, keepdim=True)
    return X, (target - target.mean()) / target.std() * scale + shift


def binary(column: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    target = (y > 1).float()
    return X, target[:, None] if column else target
