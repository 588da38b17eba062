"""Layers with weights in their order, for checks that compare depth."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.model.module.names import layers

LAYER_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def weight_layers(context: CheckContext) -> list[tuple[str, nn.Module]]:
    """Linear layers and convolutions in the order in which they were registered."""
    return [
        (name, module) for name, module in layers(context.model) if isinstance(module, LAYER_KINDS)
    ]


def has_zero_weights(module: nn.Module) -> bool:
    """True if all weights of a layer are 0."""
    return isinstance(module.weight, torch.Tensor) and not bool(module.weight.count_nonzero())
