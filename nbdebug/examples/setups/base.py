"""A setup with a planted fault, and the parts that such setups share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import CLASSES, FEATURES, blobs

X, y = blobs()
CE = nn.CrossEntropyLoss()


@dataclass(frozen=True)
class SickSetup:
    """A model, its data, loss and settings, with one planted fault.

    Attributes:
        check: name of the check that should find the fault.
        model, data: make the model and the training data.
        loss: `loss(outputs, targets)`; not used with a `step_fn` among the settings.
        settings: keywords of the Debugger.
    """

    check: str
    model: Callable[[], nn.Module]
    data: Callable[[], Any] = lambda: (X, y)
    loss: Callable[..., torch.Tensor] = CE
    settings: dict[str, Any] = field(default_factory=dict)

    def debugger(self) -> Debugger:
        """Build a Debugger on the setup."""
        loss = None if "step_fn" in self.settings else self.loss
        return Debugger(self.model(), self.data(), loss, **self.settings)


def mlp(*end: nn.Module, out: int = CLASSES, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two hidden layers of 16 units, the output layer, and then `end`."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, out), *end
    )


def regression(scale: float = 1.0, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs X [N, 12] and a number to predict [N, 1], of this standard deviation and mean."""
    target = X[:, :3].sum(1, keepdim=True)
    return X, (target - target.mean()) / target.std() * scale + shift


def binary(column: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs X [N, 12] and targets 0 or 1, [N, 1] or [N]."""
    target = (y > 1).float()
    return X, target[:, None] if column else target
