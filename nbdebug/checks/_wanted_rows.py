"""Targets that a loss asks for, row by row, as its gradient shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from nbdebug.checks._class_targets import ClassTargets, class_targets
from nbdebug.checks._model_calls import ModelCall
from nbdebug.model.precision import wide

MIN_ROWS, TOLERANCE = 16, 1e-3


class Wanted(NamedTuple):
    """Targets [K] that the loss asks for, of the outputs in these rows [K] of `length`."""

    values: torch.Tensor
    rows: torch.Tensor
    length: int


def reads_rows_of(call: ModelCall, tensors: list[torch.Tensor]) -> bool:
    """True if an input of the model is a part of the batch as it is."""
    return any(
        one.ndim > 0 and one.shape == other.shape and bool((one == other).all())
        for one in call.inputs
        for other in tensors
    )


def wanted_pairs(
    call: ModelCall, tensors: list[torch.Tensor]
) -> Iterator[tuple[Wanted, list[torch.Tensor]]]:
    """Wanted targets, each with the tensors [N] of the batch that may hold them."""
    for classes in class_targets(call):
        wanted = _of_classes(classes)
        if wanted is not None:
            labels = [one.flatten().long() for one in tensors if _are_labels(one, wanted.length)]
            if labels:
                yield wanted, labels
    for _, output, gradient in call.read():
        if output.numel() != len(output):
            continue
        for one in tensors:
            if one.is_floating_point():
                numbers = _of_numbers(output.flatten(), gradient.flatten(), one)
                if numbers is not None:
                    yield numbers, [wide(one.flatten())]


def _are_labels(tensor: torch.Tensor, rows: int) -> bool:
    """True for classes [N] of which several rows have the same, unlike an index."""
    if tensor.is_floating_point() or tensor.is_complex() or not tensor.ndim:
        return False
    return len(tensor) == tensor.numel() == rows and 1 < len(tensor.unique()) <= rows // 2


def share_of(wanted: Wanted, labels: torch.Tensor) -> float:
    """Share of the targets that `labels` [N] has in the same row."""
    return float(same_values(wanted.values, labels[wanted.rows]).float().mean())


def _of_classes(found: ClassTargets) -> Wanted | None:
    if found.wanted.ndim != 1 or int(found.counted.sum()) < MIN_ROWS:
        return None
    rows = found.counted.nonzero().flatten()
    return Wanted(found.wanted[rows].long(), rows, len(found.wanted))


def _of_numbers(outputs: torch.Tensor, slope: torch.Tensor, labels: torch.Tensor) -> Wanted | None:
    """Targets of a squared error that are the numbers of `labels` in some order."""
    if labels.numel() != len(outputs) or len(outputs) < MIN_ROWS or not labels.ndim:
        return None
    outputs, slope, numbers = (wide(one).flatten() for one in (outputs, slope, labels))
    off, total = outputs.sum() - numbers.sum(), slope.sum()
    if float(total.abs()) < 1e-12 * float(slope.abs().max()) or float(numbers.std()) == 0:
        return None
    wanted = outputs - slope * off / total
    if not same_values(wanted.sort().values, numbers.sort().values).all():
        return None
    # The number that is meant, without errors of rounding.
    wanted = numbers.sort().values[wanted.argsort().argsort()]
    return Wanted(wanted, torch.arange(len(wanted), device=wanted.device), len(wanted))


def same_values(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    if not one.is_floating_point():
        return one == other
    return (one - other).abs() <= TOLERANCE * float(other.std() + 1e-30)
