"""Which of torch's usual losses a loss is, judged by the number it gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

LossOfTensors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
KNOWN: dict[str, LossOfTensors] = {
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
    "binary": functional.binary_cross_entropy_with_logits,
}
CLOSE = 1e-4


def known_loss(outputs: torch.Tensor, targets: torch.Tensor, loss: float) -> str:
    """Name in `KNOWN` of the loss that gives this number, "" for none of them.

    A loss of the user's own may count its calls, so it is not asked itself.
    """
    if not targets.is_floating_point():
        if outputs.ndim < 2 or targets.shape == outputs.shape or targets.dtype != torch.int64:
            return ""
        return _same("cross_entropy", outputs, targets, loss)
    if targets.shape != outputs.shape or not targets.ndim:
        return ""
    found = _same("mse", outputs, targets, loss)
    if not found and bool(((targets == 0) | (targets == 1)).all()):
        found = _same("binary", outputs, targets, loss)
    return found


def _same(name: str, outputs: torch.Tensor, targets: torch.Tensor, loss: float) -> str:
    try:
        number = float(KNOWN[name](outputs, targets))
    except (ValueError, RuntimeError, IndexError):
        return ""
    return name if math.isclose(number, loss, rel_tol=CLOSE) else ""
