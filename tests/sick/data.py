"""Faults of data and settings."""

from __future__ import annotations

import torch
from torch import nn

from tests.sick.base import Sick, X, mlp, regression, y


def with_nan() -> tuple[torch.Tensor, torch.Tensor]:
    broken = X.clone()
    broken[::7, 2] = torch.nan
    return broken, y


DATA: dict[str, Sick] = {
    "targets in the thousands": Sick(
        "labels", lambda: mlp(out=1), lambda: regression(1000.0, 3000.0), nn.MSELoss()
    ),
    "one class": Sick("labels", mlp, lambda: (X, torch.zeros_like(y))),
    "one sample of the other class": Sick(
        "labels", mlp, lambda: (X, (torch.arange(len(y)) % 100 == 0).long())
    ),
    "NaN in the inputs": Sick("input_scale", mlp, with_nan),
    "raw inputs": Sick("input_scale", mlp, lambda: (X * 500 + 1000, y)),
}  # fmt: skip
