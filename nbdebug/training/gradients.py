"""Gradient norms, all parameters at once, and clipping with the same norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbdebug.core.errors import ModelError
from nbdebug.model.subject import Clipping


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


def norms(found: list[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Norm over all gradients, and the norm of each [K].

    The first is what `torch.nn.utils.get_total_norm` gives, to the bit.
    """
    if not found:
        return torch.zeros((), device=device), torch.zeros(0, device=device)
    first = found[0]
    if all(g.dtype == first.dtype and g.device == first.device for g in found):
        each = torch.stack(torch._foreach_norm(found))
        return torch.linalg.vector_norm(each), each
    total = torch.nn.utils.get_total_norm(found)
    each = torch.stack([torch.linalg.vector_norm(g).to(total) for g in found])
    return total, each


def clip(
    parameters: Sequence[tuple[str, nn.Parameter]],
    clipping: Clipping,
    total: torch.Tensor,
    total_value: float,
) -> float | torch.Tensor:
    """Clip in place; the norm afterwards.

    Args:
        total: norm over all gradients; total_value: the same on the host.
    """
    limit = clipping.threshold
    if clipping.mode == "norm":
        # Far below the threshold torch multiplies by exactly 1: that can be left out.
        if total_value < 0.999 * limit - 1e-6:
            return total_value
        torch.nn.utils.clip_grads_with_norm_([p for _, p in parameters], limit, total)
        return total_value * min(1.0, limit / (total_value + 1e-6))
    if clipping.mode == "value":
        torch.nn.utils.clip_grad_value_([p for _, p in parameters], limit)
        return norms(gradients(parameters), total.device)[0]
    return total_value
