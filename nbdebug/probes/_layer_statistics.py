"""Statistics of the output of one layer; on the CPU, NumPy is several times faster."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbdebug.model.module.names import Layer

NEAR_ZERO = 0.05
DEAD_THRESHOLD = 1e-5
EDGE_MARGIN, SATURATED_SHARE = 0.025, 0.95
MAX_VALUES = 16_384


def moments(units: torch.Tensor) -> torch.Tensor:
    """Mean, standard deviation and share of values with |x| <= 0.05, [3], of units [R, U]."""
    flat = units.reshape(-1).float()
    if flat.device.type == "cpu":
        return torch.from_numpy(np.array(_on_host(flat.numpy()), np.float32))
    mean = flat.mean()
    square = torch.dot(flat, flat) / len(flat)
    spread = (square - mean * mean).clamp(min=0).sqrt()
    near = (flat.abs() <= NEAR_ZERO).sum() / len(flat)
    return torch.stack([mean, spread, near.to(mean)])


def _on_host(values: NDArray[np.float32]) -> tuple[float, float, float]:
    # Activations of a diverging network overflow; the plot shows NaN or Inf.
    with np.errstate(all="ignore"):
        size = values.size
        mean = float(np.add.reduce(values)) / size
        variance = float(np.dot(values, values)) / size - mean * mean
        near = np.count_nonzero(np.abs(values) <= NEAR_ZERO) / size
        return mean, float(np.sqrt(np.maximum(variance, 0.0))), near


def by_unit(layer: Layer, output: torch.Tensor) -> torch.Tensor:
    """Reshape an output to [observations, units]; units are channels of images, else features.

    If there are more than 16,384 values, an evenly spaced subset of the observations is taken.
    """
    stride = _stride(output.numel())
    if output.ndim < 2:
        return output.reshape(-1, 1)[::stride]
    channels_first = output.ndim > 3 or isinstance(layer.module, nn.Conv1d | nn.BatchNorm1d)
    if channels_first and output.ndim > 2:
        # Subsampled before transposing, which would copy all values.
        places = output.flatten(2)[:, :, ::stride]
        return places.transpose(1, 2).reshape(-1, output.shape[1])
    return output.reshape(-1, output.shape[-1])[::stride]


def active(units: torch.Tensor) -> torch.Tensor:
    """Number of observations of each unit [R, U] with an absolute value of at least 1e-5, [U]."""
    if units.device.type == "cpu":
        alive = np.abs(units.float().numpy()) >= DEAD_THRESHOLD
        # A matrix product is several times faster than a sum over columns.
        counts = np.ones(len(alive), np.float32) @ alive.astype(np.float32)
        return torch.from_numpy(counts)
    return (units.abs() >= DEAD_THRESHOLD).sum(0)


def saturated(units: torch.Tensor, from_zero: bool) -> torch.Tensor:
    """Share of units [R, U] that are near a limit of their range for most observations.

    Args:
        from_zero: True if the range starts at 0 (sigmoid), False if it starts at -1.
    """
    values = 2.0 * units - 1.0 if from_zero else units
    often = (values.abs() > 1.0 - 2.0 * EDGE_MARGIN).float().mean(0) > SATURATED_SHARE
    return often.float().mean()


def _stride(size: int) -> int:
    return max(1, -(-size // MAX_VALUES))
