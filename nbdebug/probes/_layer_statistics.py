"""Numbers about one layer's output; on the CPU NumPy takes them, several times faster."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbdebug.model.module.names import Layer

NEAR_ZERO = 0.05
DEAD = 1e-5
EDGE, OFTEN = 0.025, 0.95
SAMPLE = 16_384


def moments(units: torch.Tensor) -> torch.Tensor:
    """Mean, standard deviation and share of values with |x| <= 0.05 of units [R, U], [3]."""
    flat = units.reshape(-1).float()
    if flat.device.type == "cpu":
        return torch.from_numpy(np.array(_on_host(flat.numpy()), np.float32))
    mean = flat.mean()
    square = torch.dot(flat, flat) / len(flat)
    spread = (square - mean * mean).clamp(min=0).sqrt()
    near = (flat.abs() <= NEAR_ZERO).sum() / len(flat)
    return torch.stack([mean, spread, near.to(mean)])


def _on_host(values: NDArray[np.float32]) -> tuple[float, float, float]:
    # Activations of a diverging network overflow; that is for the plot to show.
    with np.errstate(all="ignore"):
        size = values.size
        mean = float(np.add.reduce(values)) / size
        variance = float(np.dot(values, values)) / size - mean * mean
        near = np.count_nonzero(np.abs(values) <= NEAR_ZERO) / size
        return mean, float(np.sqrt(np.maximum(variance, 0.0))), near


def by_unit(layer: Layer, output: torch.Tensor) -> torch.Tensor:
    """Output as [observations, units]: channels of images, features of everything else.

    Of more than 16,384 values evenly spaced observations are taken.
    """
    stride = _stride(output.numel())
    if output.ndim < 2:
        return output.reshape(-1, 1)[::stride]
    channels_first = output.ndim > 3 or isinstance(layer.module, nn.Conv1d | nn.BatchNorm1d)
    if channels_first and output.ndim > 2:
        # Thinned out before it is turned round: that would copy all of it.
        places = output.flatten(2)[:, :, ::stride]
        return places.transpose(1, 2).reshape(-1, output.shape[1])
    return output.reshape(-1, output.shape[-1])[::stride]


def active(units: torch.Tensor) -> torch.Tensor:
    """How many of the observations of each unit [R, U] are not under 1e-5, [U]."""
    if units.device.type == "cpu":
        alive = np.abs(units.float().numpy()) >= DEAD
        # As a product of matrices: several times faster than adding up the columns.
        counts = np.ones(len(alive), np.float32) @ alive.astype(np.float32)
        return torch.from_numpy(counts)
    return (units.abs() >= DEAD).sum(0)


def saturated(units: torch.Tensor, from_zero: bool) -> torch.Tensor:
    """Share of units [R, U] that lie near an end of their range for most observations.

    Args:
        from_zero: whether the range begins at 0, as that of sigmoid; else at -1.
    """
    values = 2.0 * units - 1.0 if from_zero else units
    often = (values.abs() > 1.0 - 2.0 * EDGE).float().mean(0) > OFTEN
    return often.float().mean()


def _stride(size: int) -> int:
    return max(1, -(-size // SAMPLE))
