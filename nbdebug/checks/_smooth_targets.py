"""Labels of cross-entropy that are smoothed, wherever torch's function is called."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_calls import LossCall, loss_calls

TOLERANCE = 1e-4


class SmoothTargets(NamedTuple):
    """Share of a label that is spread over all classes, where it is, and the line of the call.

    Attributes:
        probability: what is left for the class of the label; classes: their number.
    """

    share: float
    probability: float
    classes: int
    line: str


def smooth_targets(context: CheckContext) -> SmoothTargets | None:
    """The labels of the call with the largest share; None without a call of cross-entropy."""
    try:
        calls = loss_calls(context, (functional.cross_entropy,))
    except (RuntimeError, ValueError, IndexError, TypeError):
        # Other checks judge a loss that does not run.
        return None
    found = [_of_call(call) for call in calls]
    return max(filter(None, found), key=lambda one: one.share, default=None)


def _of_call(call: LossCall) -> SmoothTargets | None:
    scores, targets = call.arguments["input"], call.numbers("target")
    classes = int(scores.shape[min(1, scores.ndim - 1)])
    share = float(call.arguments["label_smoothing"])
    if targets.is_floating_point():
        rows = targets.movedim(min(1, targets.ndim - 1), -1).flatten(0, -2)
        share = 1 - (1 - share) * (1 - _spread(rows))
    return SmoothTargets(share, 1 - share + share / classes, classes, call.line)


def _spread(rows: torch.Tensor) -> float:
    """Share of rows [M, C] that all classes have, where one class is above equal others; or 0."""
    if rows.shape[-1] < 2 or not len(rows):
        return 0.0
    ordered = rows.sort(-1).values
    low, high = ordered[:, 0], ordered[:, -1]
    others = ordered[:, :-1]
    alike = bool((others[:, -1] - low <= TOLERANCE).all())
    same = float(low.max() - low.min()) <= TOLERANCE and float(high.max() - high.min()) <= TOLERANCE
    normal = bool(((rows.sum(-1) - 1).abs() < TOLERANCE).all())
    return 1 - float((high - low).mean()) if alike and same and normal else 0.0
