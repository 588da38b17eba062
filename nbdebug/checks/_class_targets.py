"""Class targets as the gradient of the loss at the outputs shows them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._model_calls import ModelCall
from nbdebug.model.precision import wide

MIN_ROWS = 8
ZERO_SUM = 1e-3
# Of a sample in the loss, with the weight of its class.
MAX_WEIGHT, MAX_LOST = 1e4, 100.0


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
    slope, scores = wide(gradient.movedim(dim, -1)), output.movedim(dim, -1)
    counted = (slope != 0).any(-1)
    if classes < 2 or int(counted.sum()) < MIN_ROWS:
        return None
    counted &= ~_is_lost(scores, slope)
    if int(counted.sum()) < MIN_ROWS:
        return None
    for falls, signed in ((True, slope), (False, -slope)):
        pull, rows = signed.min(-1), signed[counted]
        if not bool(((rows < 0).sum(-1) == 1).all()):
            continue
        # Of a likelihood, all classes but one have no gradient.
        alone = (rows != 0).sum(-1) == 1
        off = rows.sum(-1).abs() / rows.abs().sum(-1)
        room = _room(scores[counted], pull.indices[counted], -pull.values[counted])
        if bool((alone | (off <= room)).all()):
            return ClassTargets(pull.indices, counted, -pull.values, scores, classes, falls)
    return None


def _is_lost(scores: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Positions [N, ...] whose class is so sure that its own gradient is rounded to 0."""
    eps = torch.finfo(scores.dtype).eps
    likely = wide(scores).softmax(-1).max(-1)
    own = slope.gather(-1, likely.indices[..., None])[..., 0]
    faint = slope.abs().amax(-1) <= MAX_LOST * eps
    return (likely.values > 1 - 4 * eps) & (own == 0) & faint


def _room(scores: torch.Tensor, wanted: torch.Tensor, pull: torch.Tensor) -> torch.Tensor:
    """Share [M] by which a gradient may miss a sum of 0.

    The slope of a sure class is its probability less 1, of which little more than the rounding is
    left. Where the slope is not small, the class is not sure of a cross-entropy.
    """
    eps = torch.finfo(scores.dtype).eps
    doubt = 1 - wide(scores).softmax(-1).gather(-1, wanted[..., None])[..., 0]
    room = (4 * eps / doubt.clamp_min(eps)).clamp_min(ZERO_SUM)
    return torch.where(pull <= MAX_WEIGHT * doubt, room, torch.full_like(room, ZERO_SUM))


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
