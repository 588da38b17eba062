"""Targets of binary cross-entropy that are far below 1, wherever torch's losses are called."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_calls import LossCall, loss_calls

LOSSES = (
    functional.binary_cross_entropy, functional.binary_cross_entropy_with_logits,
    functional.multilabel_soft_margin_loss,
)  # fmt: skip
MAX_HIGH, MIN_EQUAL_SHARE, MIN_EQUAL, TOLERANCE = 0.25, 0.5, 2, 1e-4


class FaintTargets(NamedTuple):
    """Two values that the targets of a call have; its function, and the line of the user's code."""

    low: float
    high: float
    function: str
    line: str


def faint_targets(context: CheckContext) -> FaintTargets | None:
    """Targets of a call that are one value or another, both far below 1; None without.

    Between them may lie a few, such as edges of a mask. Soft targets have many values.
    """
    try:
        calls = loss_calls(context, LOSSES)
    except (RuntimeError, ValueError, IndexError, TypeError):
        # Other checks judge a loss that does not run.
        return None
    for call in calls:
        values = _values(context, call)
        if not values.numel() or not bool(torch.isfinite(values).all()):
            continue
        low, high = float(values.min()), float(values.max())
        above = values[values > low]
        equal = int((above >= (1 - TOLERANCE) * high).sum())
        if low < 0 or high >= MAX_HIGH or equal < max(MIN_EQUAL, MIN_EQUAL_SHARE * len(above)):
            continue
        return FaintTargets(low, high, call.name, call.line)
    return None


def _values(context: CheckContext, call: LossCall) -> torch.Tensor:
    """Numbers [M] that count in a call; of all batches where the first has a single one."""
    target = call.numbers("target")
    values = call.counted(target).flatten()
    if context.loss_fn is None or (len(values) and bool((values != values[0]).any())):
        return values
    every = [targets for _, targets in context.alike if isinstance(targets, torch.Tensor)]
    if every and every[0].shape == target.shape and torch.equal(every[0].to(target), target):
        return torch.cat(every).to(target).flatten()
    return values
