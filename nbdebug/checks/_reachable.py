"""Outputs that a model can give: free numbers, and the last operation that limits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from nbdebug.checks._constant import output_range
from nbdebug.checks._context import CheckContext

TOLERANCE = 1e-3


class Reachable(NamedTuple):
    """Free numbers [N, ...] that give the outputs now, and the function from them to outputs."""

    free: torch.Tensor
    outputs: Callable[[torch.Tensor], torch.Tensor]


def reachable(
    context: CheckContext,
    outputs: torch.Tensor,
    limits: Callable[[], tuple[float, float]] | None = None,
) -> Reachable:
    """The last operation of a model, as its outputs [N, ...] tell it.

    `limits` gives their smallest and largest value; without, those of the only output.

    Log-probabilities and probabilities along a dimension, numbers between 0 and 1 or above 0, and
    rows of length 1 are known; of other outputs each number is free.
    """
    for dim in range(1, outputs.ndim):
        if outputs.shape[dim] < 2:
            continue
        if _all_near(outputs.logsumexp(dim), 0.0):
            return Reachable(outputs, lambda free, d=dim: free.log_softmax(d))  # type: ignore[misc]
        if float(outputs.min()) >= 0 and _all_near(outputs.sum(dim), 1.0):
            start = outputs.clamp_min(1e-12).log()
            return Reachable(start, lambda free, d=dim: free.softmax(d))  # type: ignore[misc]
        if _all_near(outputs.norm(dim=dim), 1.0):
            return Reachable(outputs, lambda free, d=dim: functional.normalize(free, dim=d))  # type: ignore[misc]
    if float(outputs.min()) >= 0:
        low, high = output_range(context) if limits is None else limits()
        if low >= 0 and high > 1:
            return Reachable(outputs, torch.abs)
        if low >= 0:
            return Reachable(outputs.clamp(1e-6, 1 - 1e-6).logit(), torch.sigmoid)
    return Reachable(outputs, lambda free: free)


def _all_near(values: torch.Tensor, number: float) -> bool:
    return bool((values - number).abs().max() < TOLERANCE)
