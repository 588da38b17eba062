"""Small problems to try plug-ins on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nbdebug.examples.data import CLASSES, FEATURES, blobs, images
from nbdebug.examples.networks import tiny_cnn
from nbdebug.examples.setups.base import SickSetup


@dataclass(frozen=True)
class Problem:
    """A model, its data and its loss; built again for each use.

    Attributes:
        model, data: make the model and the training data.
        loss: `loss(outputs, targets)`.
        settings: further keywords, as of the Debugger.
    """

    model: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Callable[..., torch.Tensor] = nn.functional.cross_entropy
    settings: Mapping[str, Any] = field(default_factory=dict)


AnyProblem = Problem | SickSetup


def _tiny_mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16),
        nn.BatchNorm1d(16),
        nn.Dropout(0.3),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )


MLP = Problem(_tiny_mlp, blobs)
CNN = Problem(tiny_cnn, images)
