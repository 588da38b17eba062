"""Losses that apply softmax or sigmoid to outputs which are probabilities already."""

from __future__ import annotations

import torch

from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

TOLERANCE = 1e-3


def applied_twice(
    output: torch.Tensor, gradient: torch.Tensor, limits: tuple[float, float]
) -> Outcome | None:
    """A fault of outputs in [0, 1] whose loss takes logits, by its gradient; None without.

    The gradient of cross-entropy for logits is their softmax less the target, in proportion to
    weights of the samples; that of binary cross-entropy is their sigmoid less the target.
    """
    low, high = limits
    if low < 0 or high > 1 or output.ndim < 1:
        return None
    values, slope = wide(output), wide(gradient)
    for dim in range(1, values.ndim):
        if values.shape[dim] > 1 and _is_softmax(values, slope, dim):
            return Outcome(
                "fail", "the outputs of each sample are positive and sum to 1, and the loss "
                "applies log-softmax to them", "logits: the loss applies log-softmax itself",
                "Remove the softmax at the end of the model.",
            )  # fmt: skip
    if _is_sigmoid(values, slope):
        return Outcome(
            "fail", f"all outputs lie in [{low:.2g}, {high:.2g}], and the loss applies the sigmoid "
            "to them", "logits: the loss applies the sigmoid itself",
            "Remove the sigmoid at the end of the model.",
        )  # fmt: skip
    return None


def _is_softmax(values: torch.Tensor, slope: torch.Tensor, dim: int) -> bool:
    if not bool((values.sum(dim) - 1).abs().max() < TOLERANCE):
        return False
    rows, slopes = values.movedim(dim, -1), slope.movedim(dim, -1)
    counted = (slopes != 0).any(-1)
    rows, slopes = rows[counted], slopes[counted]
    if not len(rows) or not bool(((slopes < 0).sum(-1) == 1).all()):
        return False
    target = torch.zeros_like(rows).scatter_(-1, slopes.argmin(-1, keepdim=True), 1.0)
    return _in_proportion(slopes, rows.softmax(-1) - target)


def _is_sigmoid(values: torch.Tensor, slope: torch.Tensor) -> bool:
    values, slope = values.flatten()[:, None], slope.flatten()[:, None]
    off = values.sigmoid() - wide(slope < 0)
    both = bool((slope < 0).any()) and bool((slope > 0).any())
    return both and len(off) > 8 and _in_proportion(slope.T, off.T)


def _in_proportion(one: torch.Tensor, other: torch.Tensor) -> bool:
    """True if each row of a tensor is a multiple of that of another."""
    sizes = one.norm(dim=-1) * other.norm(dim=-1)
    return bool(((one * other).sum(-1) > (1 - 1e-6) * sizes).all())
