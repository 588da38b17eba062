"""Filters and weights of a part of the network, and their change since the start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from nbdebug.core.records import Array
from nbdebug.core.results.inside.part_detail import NO_MAPS, PartDetail
from nbdebug.model.structure.recorder import RecordedPart
from nbdebug.training.tasks.inside.values import as_array, thinned
from nbdebug.training.timeline.checkpoint import Checkpoint

MAX_FILTERS, FILTER_SIDE, MATRIX_SIDE = 64, 32, 64


def with_weights(
    detail: PartDetail, model: nn.Module, part: RecordedPart, first: Callable[[], Checkpoint]
) -> PartDetail:
    """Add the weights of a part, as filters where it is a convolution, and their change.

    Args:
        first: returns the checkpoint that the timeline begins with.
    """
    weight = getattr(part.module, "weight", part.parameter)
    if not isinstance(weight, torch.Tensor) or weight.ndim < 2:
        return detail
    values = as_array(weight)
    channels = _largest_channels(values) if values.ndim > 2 else None
    colours = values.ndim == 4 and values.shape[1] == 3
    detail = replace(
        detail,
        weights=_shown(values, channels),
        colours=np.stack([_colours(one) for one in values[:MAX_FILTERS]]) if colours else NO_MAPS,
    )
    name = next((name for name, one in model.named_parameters() if one is weight), "")
    # A weight that is computed from others, as by weight_norm, is not in a checkpoint.
    begin = first() if name else None
    before = None if begin is None else begin.weights.parameters.get(name)
    if begin is None or before is None or before.shape != weight.shape:
        return detail
    then = as_array(before)
    moved, size = _norm(values - then), _norm(then)
    return replace(
        detail,
        change=_shown(values - then, channels),
        since=begin.step,
        moved=moved / size if size else float("nan"),
    )


def _norm(values: Array) -> float:
    """L2 norm; np.linalg.norm would wake the threads of BLAS beside those of the training."""
    return math.sqrt(np.square(values).sum())


def _largest_channels(values: Array) -> Array:
    """Input channel at which each filter [C, ...] of a convolution is largest."""
    sizes = np.abs(values[:MAX_FILTERS]).reshape(*values[:MAX_FILTERS].shape[:2], -1)
    found: Array = sizes.sum(axis=2).argmax(axis=1)
    return found


def _shown(values: Array, channels: Array | None) -> Array:
    """Filters [K, H, W], each at one input channel; else a matrix [1, H, W]."""
    if channels is None:
        return thinned(values, MATRIX_SIDE, MATRIX_SIDE)[None]
    flat = values[:MAX_FILTERS].reshape(*values[:MAX_FILTERS].shape[:2], -1, values.shape[-1])
    chosen = zip(flat, channels, strict=True)
    return np.stack([thinned(one[at], FILTER_SIDE, FILTER_SIDE) for one, at in chosen])


def _colours(values: Array) -> Array:
    """One filter [3, H, W], thinned."""
    return np.stack([thinned(one, FILTER_SIDE, FILTER_SIDE) for one in values])
