"""Forecast of the learning rate, on copies of the schedulers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nbdebug.model.schedule.builders import (
    ActiveSchedule,
    all_schedulers,
    suppress_step_warning,
)

MAX_FORECAST_POINTS = 500


def stub_optimizer(groups: Sequence[Mapping[str, Any]]) -> torch.optim.Optimizer:
    """Optimizer without a model, whose groups have these options, for schedulers to write to."""
    stub = torch.optim.SGD([{"params": [torch.zeros(())]} for _ in groups], lr=0.0)
    for mine, theirs in zip(stub.param_groups, groups, strict=True):
        mine.update({k: copy.deepcopy(v) for k, v in theirs.items() if k != "params"})
    return stub


def forecast(
    course: ActiveSchedule,
    optimizer: torch.optim.Optimizer,
    group: int,
    steps: int,
    epoch: tuple[int, int] = (1, 1),
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Forecast the lr of one parameter group in the next steps; nothing is changed.

    Args:
        epoch: steps left in this epoch, and steps of one, for a schedule that counts epochs.

    Copies of the schedulers run on a stub of the optimizer. A schedule that waits for a loss
    to stagnate is forecast as constant.

    Returns:
        Positions [P] from 0, the next step, to at most `steps` - 1, and the lr [P] there;
        P is at most 500, the first and the last position included. The forecast ends early
        if a scheduler raises.
    """
    wanted = np.unique(np.linspace(0, steps - 1, min(steps, MAX_FORECAST_POINTS)).astype(np.int64))
    now = float(optimizer.param_groups[group]["lr"])
    if not course.schedulers or course.waits:
        return wanted, np.full(len(wanted), now)
    stub = stub_optimizer(optimizer.param_groups)
    copied: ActiveSchedule = copy.deepcopy(course, {id(optimizer): stub})
    for scheduler in all_schedulers(copied.schedulers):
        suppress_step_warning(scheduler)
    values = [now]
    left, length = epoch
    for position in range(1, steps):
        try:
            if position >= left and (position - left) % length == 0:
                copied.step()
        except Exception:
            wanted = wanted[wanted < len(values)]
            break
        values.append(float(stub.param_groups[group]["lr"]))
    return wanted, np.array(values)[wanted]
