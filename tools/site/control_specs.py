"""Descriptions of all controls, as they are of a network that has every part they act on."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from nbdebug.controls.base import Control
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.plugins import discover
from nbdebug.testing import Problem, Trainer


class Everything(nn.Module):
    """A recurrent layer, batch normalisation and dropout. Inputs [N, 5, 4], outputs [N, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 8, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.rnn(x)[0]
        logits: torch.Tensor = self.head(hidden[:, -1])
        return logits


def series(count: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Random series [N, 5, 4], as many as asked for, and the sign of their sums [N]."""
    X = torch.randn(count, 5, 4, generator=torch.Generator().manual_seed(0))
    return X, (X.sum((1, 2)) > 0).long()


@cache
def control_specs() -> dict[str, ControlSpec]:
    """The description of each control that comes with nbdebug, by name."""
    with Trainer.of(Problem(Everything, series), optimizer="adam") as trainer:
        controls = discover("nbdebug.controls", Control)
        return {control.name: control().spec(trainer.session) for control in controls}
