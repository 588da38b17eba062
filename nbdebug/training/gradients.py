"""Gradient norms, all parameters at once, and clipping with the same norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import nn

from nbdebug.core.errors import ModelError
from nbdebug.model.subject import Clipping
from nbdebug.training.measuring import to_floats


def gradients(parameters: Sequence[tuple[str, nn.Parameter]]) -> list[torch.Tensor]:
    """The gradients there are.

    Raises:
        ModelError: on a sparse gradient, whose norm torch cannot take.
    """
    found = []
    for name, parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            raise ModelError(f"{name} has a sparse gradient: build its layer with sparse=False.")
        found.append(gradient)
    return found


class Norms:
    """L2 norms of gradients.

    Attributes:
        each: one 0-d tensor a gradient.
    """

    def __init__(self, found: list[torch.Tensor], device: torch.device) -> None:
        self._found, self._device = found, device
        first = found[0] if found else torch.zeros((), device=device)
        self._alike = all(g.dtype == first.dtype and g.device == first.device for g in found)
        self.each: tuple[torch.Tensor, ...] = ()
        if found and self._alike:
            self.each = torch._foreach_norm(found)
        elif found:
            self.each = tuple(torch.linalg.vector_norm(g).to(first.device) for g in found)

    @cached_property
    def total(self) -> torch.Tensor:
        """Norm over all gradients, to the bit what `torch.nn.utils.get_total_norm` gives."""
        if not self._found:
            return torch.zeros((), device=self._device)
        if self._alike:
            norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(self.each))
            return norm
        total: torch.Tensor = torch.nn.utils.get_total_norm(self._found)
        return total

    def to_host(self, loss: torch.Tensor) -> tuple[float, float]:
        """Loss and total norm as numbers, in one transfer."""
        if self._device.type != "cpu":
            loss_value, total = to_floats((loss, self.total))
            return loss_value, total
        # Without a transfer to save, a few numbers are joined faster by Python.
        norms = [norm.item() for norm in self.each]
        return loss.item(), math.hypot(*norms)


def clip(
    parameters: Sequence[tuple[str, nn.Parameter]],
    clipping: Clipping,
    norms: Norms,
    total: float,
) -> float:
    """Clip in place; the norm afterwards.

    Args:
        total: norm over all gradients, on the host.
    """
    limit = clipping.threshold
    if clipping.mode == "norm":
        # Far below the threshold torch multiplies by exactly 1: that can be left out.
        if total < 0.999 * limit - 1e-6:
            return total
        torch.nn.utils.clip_grads_with_norm_([p for _, p in parameters], limit, norms.total)
        return total * min(1.0, limit / (total + 1e-6))
    if clipping.mode == "value":
        torch.nn.utils.clip_grad_value_([p for _, p in parameters], limit)
        return float(Norms(gradients(parameters), norms.total.device).total)
    return total
