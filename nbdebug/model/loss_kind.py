"""Recognises torch's usual losses by the value that a loss gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

LossOfTensors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
KNOWN_LOSSES: dict[str, LossOfTensors] = {
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
    "binary": functional.binary_cross_entropy_with_logits,
}
RELATIVE_TOLERANCE = 1e-4


def loss_name(outputs: torch.Tensor, targets: torch.Tensor, loss: float) -> str:
    """Name in `KNOWN_LOSSES` of the loss that gives this value, "" for none of them.

    The user's loss may count its calls, so it is not called.
    """
    if not targets.is_floating_point():
        if outputs.ndim < 2 or targets.shape == outputs.shape or targets.dtype != torch.int64:
            return ""
        return _name_if_equal("cross_entropy", outputs, targets, loss)
    if targets.shape != outputs.shape or not targets.ndim:
        return ""
    found = _name_if_equal("mse", outputs, targets, loss)
    if not found and bool(((targets == 0) | (targets == 1)).all()):
        found = _name_if_equal("binary", outputs, targets, loss)
    return found


def _name_if_equal(name: str, outputs: torch.Tensor, targets: torch.Tensor, loss: float) -> str:
    try:
        value = float(KNOWN_LOSSES[name](outputs, targets))
    except (ValueError, RuntimeError, IndexError):
        return ""
    return name if math.isclose(value, loss, rel_tol=RELATIVE_TOLERANCE) else ""
