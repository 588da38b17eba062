"""Updates of the weights of each part, as they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.model.module.names import stable_name
from nbdebug.model.structure.recorder import RecordedPart
from nbdebug.probes.update_ratio import MeasuredUpdate
from nbdebug.training.tasks.inside.values import part_values


def part_updates(
    parameters: Sequence[tuple[str, torch.Tensor]],
    parts: Sequence[RecordedPart],
    update: MeasuredUpdate,
) -> Mapping[str, PartValues]:
    """Update of each part that has one, by its name.

    Args:
        parameters: of the training, each with its name in `update`.
    """
    names = _names(parameters)
    found = {stable_name(part.name): _of_part(part, names, update) for part in parts}
    return {name: one for name, one in found.items() if one is not None}


def relative_update(
    parameters: Sequence[tuple[str, torch.Tensor]], part: RecordedPart, update: MeasuredUpdate
) -> torch.Tensor | None:
    """Update of the largest parameter of a part, over the root mean square of its weights.

    Returns:
        It as a matrix or a vector; None where it was not measured or not kept.
    """
    return _relative(_measured(part, _names(parameters), update), update)


def _names(parameters: Sequence[tuple[str, torch.Tensor]]) -> Mapping[int, str]:
    return {id(parameter): name for name, parameter in parameters}


def _measured(
    part: RecordedPart, names: Mapping[int, str], update: MeasuredUpdate
) -> Sequence[str]:
    """Names of the parameters of a part whose update was measured."""
    held = [*part.module.parameters()] if part.module is not None else [part.parameter]
    own = [names[id(one)] for one in held if id(one) in names]
    return [name for name in own if name in update.sizes]


def _of_part(
    part: RecordedPart, names: Mapping[int, str], update: MeasuredUpdate
) -> PartValues | None:
    """Ratio over all parameters of a part, and the values of the largest one."""
    measured = _measured(part, names, update)
    if not measured:
        return None
    moved, weights = (math.hypot(*(update.sizes[name][at] for name in measured)) for at in range(2))
    ratio = moved / weights if weights else math.nan
    shown = _relative(measured, update)
    if shown is None:
        return PartValues(np.zeros((0, 0)), ratio=ratio)
    return replace(part_values(shown, 0), ratio=ratio)


def _relative(measured: Sequence[str], update: MeasuredUpdate) -> torch.Tensor | None:
    kept = [name for name in measured if name in update.taken]
    if not kept:
        return None
    largest = max(kept, key=lambda name: update.taken[name].numel())
    taken = update.taken[largest].detach()
    mean_square = update.sizes[largest][1] / math.sqrt(max(taken.numel(), 1))
    shown = -taken / (mean_square or 1.0)
    return shown.flatten(1) if shown.ndim > 2 else shown
