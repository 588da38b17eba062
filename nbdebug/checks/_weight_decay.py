"""Parameters with weight decay, for checks of the penalty."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext

DECOUPLED_OPTIMIZERS = (torch.optim.AdamW,)


def decayed_parameters(context: CheckContext) -> list[tuple[nn.Parameter, float]]:
    """Trainable parameters with a weight decay above 0, and their weight decay."""
    return [
        (p, float(group.get("weight_decay", 0.0)))
        for group in context.subject.optimizer.param_groups
        for p in group["params"]
        if p.requires_grad and group.get("weight_decay", 0.0) > 0
    ]


def is_decoupled(context: CheckContext) -> bool:
    """True if the optimizer applies weight decay separately from the gradient."""
    optimizer = context.subject.optimizer
    groups = optimizer.param_groups
    return isinstance(optimizer, DECOUPLED_OPTIMIZERS) or any(
        g.get("decoupled_weight_decay") for g in groups
    )
