"""Inputs of the fixed samples, as tables and plots show them."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.core.html.thumbnail import MAX_SIDE_PIXELS
from nbdebug.core.results.inside.predicted_step import Floats
from nbdebug.model.module.forward import leaves
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples

MAX_SHOWN_INPUTS = 6


def shown_inputs(fixed: FixedSamples) -> tuple[tuple[tuple[float, ...], ...], Floats | None]:
    """The first inputs of each sample; and the samples, made small, if they are images."""
    tensors = (one for one in leaves(fixed.arguments) if isinstance(one, torch.Tensor))
    found = next((one for one in tensors if one.ndim), None)
    if found is None or found.is_complex() or not fixed.cut:
        return (), None
    values = found.detach()
    first = values.flatten(1) if values.ndim > 1 else values[:, None]
    rows = tuple(tuple(row) for row in first[:, :MAX_SHOWN_INPUTS].float().tolist())
    if values.ndim != 4 or values.shape[1] not in (1, 3) or not values.numel():
        return rows, None
    step = -(-max(values.shape[2:]) // MAX_SIDE_PIXELS)
    images: Floats = values[:, :, ::step, ::step].float().cpu().numpy().copy()
    return rows, images


def two_inputs(fixed: FixedSamples) -> torch.Tensor | None:
    """Inputs [N, 2] where a sample is two numbers and nothing else, else None."""
    arguments, named = fixed.arguments
    only: Any = arguments[0] if len(arguments) == 1 and not named else None
    if not isinstance(only, torch.Tensor) or not only.is_floating_point() or not fixed.cut:
        return None
    return only if only.ndim == 2 and only.shape[1] == 2 else None


def as_points(inputs: torch.Tensor | None) -> Floats | None:
    """Two inputs on the host."""
    if inputs is None:
        return None
    found: Floats = inputs.detach().float().cpu().numpy().copy()
    return found
