"""Columns of inputs that are the number to predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nbdebug.model.precision import wide

MIN_SAMPLES, MIN_VALUES, MIN_COLUMNS, MAX_COLUMNS = 64, 10, 3, 4096
# Part of the square of a target that rounding leaves of a column in another unit.
ROUNDING = 1e-9
# Correlation of another column with the target.
MIN_RELATION, CHANCES = 0.2, 5.0


def leaked_numbers(pairs: Sequence[tuple[Any, Any]]) -> list[int] | str:
    """Columns of inputs [N, ...] that give a number [N, K] of each sample; or why not judged.

    Such a column is equal to the number but for its unit, and is the last one of a table, or at the
    end of a series; another one may be all there is to learn, as of a toy problem. A target that is
    as wide as the inputs is rebuilt or moved on from them, and shares columns by intention.
    """
    if not all(isinstance(part, torch.Tensor) for pair in pairs for part in pair):
        return "inputs or targets are not a single tensor."
    if any(len({part.shape[1:] for part in parts}) > 1 for parts in zip(*pairs, strict=True)):
        return "the samples differ in shape."
    inputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    if not inputs.is_floating_point() or not targets.is_floating_point() or inputs.ndim < 2:
        return "inputs or targets are no real numbers."
    rows, wanted = wide(inputs).flatten(1), wide(targets).reshape(len(targets), -1)
    if len(rows) < MIN_SAMPLES or not MIN_COLUMNS <= rows.shape[1] <= MAX_COLUMNS:
        return "the inputs are no table of several columns."
    if 4 * wanted.shape[1] > rows.shape[1] and wanted.shape[1] > 1:
        return "the targets have about as many numbers as the inputs."
    at_end = torch.zeros(inputs.shape[1:], dtype=torch.bool)
    at_end[..., -1] = at_end[-1] = True
    ends, found = set(at_end.flatten().nonzero().flatten().tolist()), set[int]()
    for column in wanted.unbind(1):
        if len(column.unique()) >= MIN_VALUES:
            found |= ends.intersection(_of_number(rows, column))
    return sorted(found)


def _of_number(rows: torch.Tensor, wanted: torch.Tensor) -> list[int]:
    """Columns of rows [N, F] from which a number [N] follows exactly, by a factor and a shift.

    None where no other column tells anything of it.
    """
    centred, target = rows - rows.mean(0), wanted - wanted.mean()
    squares = centred.square().sum(0).clamp_min(1e-300)
    along = (centred * target[:, None]).sum(0)
    left = 1 - along.square() / squares / target.square().sum()
    exact = (left.abs() < ROUNDING) | (rows == wanted[:, None]).all(0)
    # Of a toy problem, the target is a column to which the others do not belong.
    others = (1 - left)[~exact & (squares > 1e-300)]
    least = max(MIN_RELATION, CHANCES / len(rows) ** 0.5) ** 2
    related = len(others) > 0 and float(others.max()) > least
    return exact.nonzero().flatten().tolist() if related else []
