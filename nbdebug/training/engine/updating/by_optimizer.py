"""Numbers of each of several optimizers that step on one loss."""

from __future__ import annotations

import math

import torch

from nbdebug.model.optimizers import rate_of
from nbdebug.training.engine.gradients import Gradients
from nbdebug.training.engine.probing.floats import to_floats
from nbdebug.training.engine.session import Session


def note_by_optimizer(session: Session, found: Gradients, loss: float) -> None:
    """Keep loss and gradient norm before clipping of each optimizer; nothing for a single one."""
    if not session.named_optimizers:
        return
    norms = {id(p): norm for (_, p), norm in zip(found.named, found.norms.each, strict=True)}
    totals = []
    for optimizer in session.named_optimizers.values():
        held = (id(p) for group in optimizer.param_groups for p in group["params"])
        inside = [norms[one].float() for one in held if one in norms]
        totals.append(
            torch.linalg.vector_norm(torch.stack(inside))
            if inside
            else torch.zeros((), device=session.device)
        )
    session.by_optimizer = {
        name: (loss, norm, math.nan, rate_of(optimizer))
        for (name, optimizer), norm in zip(
            session.named_optimizers.items(), to_floats(totals), strict=True
        )
    }
