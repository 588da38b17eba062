"""Class targets as the gradient of the loss at the outputs shows them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._model_calls import ModelCall
from nbdebug.model.precision import wide

MIN_ROWS = 8
ZERO_SUM = 1e-3


class ClassTargets(NamedTuple):
    """Targets of a loss that rewards one class at each position.

    Attributes:
        wanted: class with the reward at each position [N, ...], of any value where not counted.
        counted: positions [N, ...] at which the loss depends on the outputs.
        pull: size of the gradient of that class [N, ...]; outputs: scores [N, ..., C].
        place, dim: place of the output in its call, and its dimension of the classes.
        classes: number of classes; falls: True if the loss falls with the score of the class.
    """

    wanted: torch.Tensor
    counted: torch.Tensor
    pull: torch.Tensor
    outputs: torch.Tensor
    classes: int
    falls: bool
    place: int = 0
    dim: int = -1


def class_targets(call: ModelCall) -> list[ClassTargets]:
    """Class targets of the outputs of a call, where its loss has some."""
    found = []
    for place, output, gradient in call.read():
        for dim in dict.fromkeys((output.ndim - 1, 1)):
            one = _along(output, gradient, dim) if 0 < dim < output.ndim else None
            if one is not None:
                found.append(one._replace(place=place, dim=dim))
                break
    return found


def _along(output: torch.Tensor, gradient: torch.Tensor, dim: int) -> ClassTargets | None:
    """Class targets with the classes along one dimension; None if the gradient is another."""
    classes = output.shape[dim]
    slope = wide(gradient.movedim(dim, -1))
    counted = (slope != 0).any(-1)
    rows = slope[counted]
    if classes < 2 or len(rows) < MIN_ROWS:
        return None
    total, size = rows.sum(-1).abs(), rows.abs().sum(-1)
    alone = (rows != 0).sum(-1) == 1
    if not bool((alone | (total <= ZERO_SUM * size)).all()):
        return None
    for falls, signed in ((True, rows), (False, -rows)):
        # Of a likelihood, all classes but one have no gradient.
        if bool(((signed < 0).sum(-1) == 1).all()):
            pull = (slope if falls else -slope).min(-1)
            scores = output.movedim(dim, -1)
            return ClassTargets(pull.indices, counted, -pull.values, scores, classes, falls)
    return None


def labels_of(found: ClassTargets, tensors: list[torch.Tensor]) -> torch.Tensor | None:
    """The tensor of a batch that holds the classes [N, ...], also where they are not counted."""
    for tensor in tensors:
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
            continue
        if tensor.numel() == found.wanted.numel():
            labels = tensor.reshape(found.wanted.shape)
            if torch.equal(labels[found.counted], found.wanted[found.counted].to(labels)):
                return labels
    return None
