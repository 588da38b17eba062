"""Values of parts of a network, made small enough to be drawn."""

from __future__ import annotations

import math

import numpy as np
import torch

from nbdebug.core.records import Array
from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.model.precision import dense

ROW_CELLS, MAX_ROWS = 32, 16
MAP_SIDE, MAX_MAPS = 14, 4
SEQUENCE_SIDE = 48


def part_values(tensor: torch.Tensor, samples: int) -> PartValues:
    """Values of one sample, whose number of samples stands first where it does.

    Args:
        tensor: [1, ...] of one sample, on any device; complex numbers by their magnitude.
    """
    values = as_array(tensor)
    array = values[0] if values.ndim and len(values) == 1 and samples == 1 else values
    finite = array[np.isfinite(array)]
    if not array.size:
        return PartValues(np.zeros((1, 1)))
    kept = finite if finite.size else np.array([math.nan])
    return PartValues(
        picture(array),
        float(kept.mean()),
        float(kept.std()),
        float(kept.min()),
        float(kept.max()),
        float((array == 0).mean()),
        1.0 - finite.size / array.size,
        array.size,
    )


def as_array(tensor: torch.Tensor) -> Array:
    """Values of a tensor on the host; complex numbers by their magnitude."""
    found = dense(tensor.detach())
    found = found.abs() if found.is_complex() else found
    array: Array = found.to("cpu", torch.float64).numpy()
    return array


def picture(values: Array) -> Array:
    """Numbers [H, W] that show values: a row, some rows, a sequence, or maps side by side.

    Args:
        values: [D], [T, D] or [C, H, W]; what has more dimensions is shown as one row after
            another. Where there are too many, they are taken at equal distances.
    """
    if values.ndim == 2 and min(values.shape) > 1:
        return thinned(values, SEQUENCE_SIDE, SEQUENCE_SIDE)
    if values.ndim == 3 and min(values.shape[1:]) > 1:
        maps = [thinned(one, MAP_SIDE, MAP_SIDE) for one in values[:MAX_MAPS]]
        gap = np.zeros((maps[0].shape[0], 1))
        return np.hstack([part for one in maps for part in (one, gap)][:-1])
    flat = values.reshape(-1)
    if flat.size <= ROW_CELLS:
        return flat[None, :]
    most = ROW_CELLS * MAX_ROWS
    if flat.size > most:
        flat = flat[np.linspace(0, flat.size - 1, most).astype(int)]
    rows = -(-flat.size // ROW_CELLS)
    return np.pad(flat, (0, rows * ROW_CELLS - flat.size)).reshape(rows, ROW_CELLS)


def thinned(values: Array, height: int, width: int) -> Array:
    """At most `height` rows and `width` columns of [H, W], at equal distances."""
    rows = np.linspace(0, values.shape[0] - 1, min(height, values.shape[0])).astype(int)
    columns = np.linspace(0, values.shape[1] - 1, min(width, values.shape[1])).astype(int)
    found: Array = values[np.ix_(rows, columns)]
    return found
