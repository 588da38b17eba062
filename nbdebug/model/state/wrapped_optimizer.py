"""Optimizers that another package wraps, to decide when they step: Accelerate and Fabric."""

from __future__ import annotations

from typing import Any

import torch

WRAPPING_MODULES = ("accelerate.", "lightning.fabric.", "lightning_fabric.")


def bare_optimizer(optimizer: Any) -> Any:
    """The optimizer whose `step` changes the weights; anything else is returned as it is."""
    while _wraps(optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def scaler_of(optimizer: Any) -> Any:
    """The GradScaler of a wrapping optimizer, or None."""
    return getattr(optimizer, "scaler", None) if _wraps(optimizer) else None


def take_step_anew(wrapper: Any) -> None:
    """Let a wrapper call the present `step` of its optimizer, instead of one that it keeps.

    Accelerate keeps two of them where it has a GradScaler, and sets them at each step.
    """
    if scaler_of(wrapper) is not None and hasattr(wrapper, "_optimizer_original_step_method"):
        wrapper.__setstate__({})


def _wraps(optimizer: Any) -> bool:
    kinds = type(optimizer).__mro__
    if not any(f"{kind.__module__}.".startswith(WRAPPING_MODULES) for kind in kinds):
        return False
    return isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer)
