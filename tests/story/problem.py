"""A model and its data, for both ways of training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes:
        model: as it is before the first step; nobody trains it.
        orders: names of the children in the order they run, by layer order; empty where the
            model has a forward of its own.
    """

    model: nn.Module
    data: tuple[torch.Tensor, torch.Tensor]
    classes: int
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """A copy to train."""
        return copy.deepcopy(self.model)
