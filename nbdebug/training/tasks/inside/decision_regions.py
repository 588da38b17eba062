"""Predictions on a grid over two inputs."""

from __future__ import annotations

import numpy as np
import torch

from nbdebug.core.results.inside.predicted_step import PredictedStep
from nbdebug.core.results.inside.recorded_predictions import DecisionRegions
from nbdebug.model.precision import wide

POINTS = 60
MARGIN = 0.1


def grid_of(inputs: torch.Tensor) -> torch.Tensor | None:
    """Grid [3600, 2] around inputs [N, 2], the lowest second input first; None without range."""
    known = wide(inputs[inputs.isfinite().all(1)])
    if not len(known):
        return None
    low, high = known.min(0).values, known.max(0).values
    room = MARGIN * torch.where(high > low, high - low, torch.ones_like(low))
    x, y = (
        torch.linspace(float(low[i] - room[i]), float(high[i] + room[i]), POINTS) for i in (0, 1)
    )
    grid = torch.cartesian_prod(y, x).flip(1)
    return grid.to(dtype=inputs.dtype, device=inputs.device)


def regions_of(grid: torch.Tensor, found: PredictedStep) -> DecisionRegions | None:
    """Predictions on the grid; None if they are no class and no value."""
    corners = wide(grid[[0, -1]]).cpu().numpy()
    x = float(corners[0, 0]), float(corners[1, 0])
    y = float(corners[0, 1]), float(corners[1, 1])
    shape = POINTS, POINTS
    if len(found.values) != len(grid) or found.right is not None:
        return None
    if found.predicted is None:
        return DecisionRegions(found.step, x, y, found.values[:, 0].reshape(shape))
    classes = found.predicted.astype(np.float32).reshape(shape)
    return DecisionRegions(found.step, x, y, classes, found.confidence.reshape(shape))
