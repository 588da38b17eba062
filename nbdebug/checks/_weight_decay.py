"""Parameters with weight decay, for checks of the penalty."""

from __future__ import annotations

import math

import torch
from torch import nn

from nbdebug.checks._context import CheckContext

# Of the loss without learning; what is left is small beside any penalty.
LEARNT_SHARE = 0.1
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


def is_learnt(context: CheckContext, data: float) -> bool:
    """True if a data loss is far below that of a model without weights.

    Without weights, all samples have the same outputs.
    """
    kept = [(p, p.detach().clone()) for _, p in context.subject.parameters]
    context.train()
    with torch.no_grad():
        for weight, _ in kept:
            weight.zero_()
    try:
        unlearnt = float(context.look(context.batch)[0])
    finally:
        with torch.no_grad():
            for weight, value in kept:
                weight.copy_(value)
    return math.isfinite(unlearnt) and data < LEARNT_SHARE * unlearnt
