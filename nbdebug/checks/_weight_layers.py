"""The weights of a model in the order of its layers, for checks that compare depth."""

from __future__ import annotations

from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.model.module.names import layers

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def weight_layers(context: CheckContext) -> list[tuple[str, nn.Module]]:
    """Linear layers and convolutions, from input to output as they were registered."""
    return [(name, module) for name, module in layers(context.model) if isinstance(module, KINDS)]
