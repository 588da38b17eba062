"""Weight decay as a penalty of the loss, for the checks that weigh it."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext

DECOUPLED = (torch.optim.AdamW,)


def decayed(context: CheckContext) -> list[tuple[nn.Parameter, float]]:
    """Parameters that learn, each with its weight decay, where that is above 0."""
    return [
        (p, float(group.get("weight_decay", 0.0)))
        for group in context.subject.optimizer.param_groups
        for p in group["params"]
        if p.requires_grad and group.get("weight_decay", 0.0) > 0
    ]


def is_decoupled(context: CheckContext) -> bool:
    """Whether the optimizer shrinks the weights by itself, apart from the gradient."""
    optimizer = context.subject.optimizer
    groups = optimizer.param_groups
    return isinstance(optimizer, DECOUPLED) or any(g.get("decoupled_weight_decay") for g in groups)
