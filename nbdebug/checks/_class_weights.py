"""Weights of classes in the loss, as its gradient at the outputs shows them."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._class_targets import class_targets
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, watched_step
from nbdebug.checks._number_targets import number_targets
from nbdebug.model.precision import wide

# Of one class, by rounding.
MAX_SPREAD = 0.01
Weights = tuple[dict[int, float], int]


def weights_of_classes(context: CheckContext, batch: Any) -> Weights | str:
    """Weight of each class in a batch, and the place of the tensor of classes; or why not."""
    step = watched_step(context, batch)
    if isinstance(step, str):
        return step
    tensors = batch_tensors(context, batch)
    for call in step.calls:
        found = _of_classes(call, tensors) or _of_two(call, tensors)
        if found is not None:
            return found
    return "no output has a class in the batch as its target, with one weight."


def _of_classes(call: ModelCall, tensors: list[torch.Tensor]) -> Weights | None:
    """Weight of each class, and the place of the tensor of classes; None if not seen."""
    for found in class_targets(call):
        place = _place(found.wanted[found.counted], found.counted, tensors)
        if found.classes < 2 or place is None:
            continue
        share = wide(found.outputs).softmax(-1).gather(-1, found.wanted[..., None])[..., 0]
        normal = bool((found.outputs.exp().sum(-1) - 1).abs().max() < 1e-3)
        # Of log-probabilities the gradient is the weight itself.
        weight = found.pull if normal else found.pull / (1 - share).clamp_min(1e-12)
        # Of a sure class, the slope is little more than its rounding.
        room = MAX_SPREAD + 8 * torch.finfo(found.outputs.dtype).eps / (1 - share).clamp_min(1e-12)
        weights = _each(*(one[found.counted] for one in (found.wanted, weight, room)))
        return None if weights is None else (weights, place)
    return None


def _place(wanted: torch.Tensor, counted: torch.Tensor, tensors: list[torch.Tensor]) -> int | None:
    """Place of the tensor that holds classes, one for each position."""
    for place, tensor in enumerate(tensors):
        if tensor.is_floating_point() or tensor.numel() != counted.numel():
            continue
        if torch.equal(tensor.reshape(counted.shape)[counted], wanted.to(tensor)):
            return place
    return None


def _of_two(call: ModelCall, tensors: list[torch.Tensor]) -> Weights | None:
    """Weight of targets of 0 and 1 of logits, and their place; None if not seen."""
    for _, output, gradient in call.read():
        for place, tensor in enumerate(tensors):
            found = number_targets(output, gradient, [tensor])
            if found is None or output.numel() != found.targets.numel():
                continue
            if bool(((found.targets == 0) | (found.targets == 1)).all()):
                slope = wide(gradient.flatten()).abs()
                off = (wide(output.flatten()).sigmoid() - wide(found.targets)).abs()
                room = MAX_SPREAD + 8 * torch.finfo(output.dtype).eps / off.clamp_min(1e-12)
                weights = _each(found.targets.long(), slope / off.clamp_min(1e-12), room)
                return None if weights is None else (weights, place)
    return None


def _each(
    labels: torch.Tensor, weights: torch.Tensor, room: torch.Tensor
) -> dict[int, float] | None:
    """Weight of each class; None if the samples of a class have several weights.

    Weights [M] of samples are known but for a share, their room [M].
    """
    found = {}
    for label in labels.unique().tolist():
        at = labels == label
        known = at & (room <= room[at].min() + MAX_SPREAD)
        found[int(label)] = middle = float(weights[known].median())
        if bool(((weights[at] - middle).abs() > room[at] * middle).any()):
            return None
    return found if len(found) > 1 else None
