"""Rehearsal of the first step after a resume, on tensors without memory."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.core.error_text import kind_of
from nbdebug.errors import CheckpointError
from nbdebug.model.schedule.builders import ActiveSchedule
from nbdebug.model.schedule.forecast import forecast
from nbdebug.model.state.optimizer import OptimizerCopy

# Other implementations of the same step, which need a device.
DEVICE_OPTIONS = ("foreach", "fused", "capturable", "differentiable")
# Numbers of updates in the states of torch's optimizers.
COUNTS, MAX_COUNT = ("step", "n_iter", "func_evals"), 2**53


def rehearse_optimizer(saved: OptimizerCopy, state: Mapping[Any, Any] | None) -> None:
    """Make a step with the options and the state of a file; nothing is changed.

    Args:
        state: the state by parameter, which another optimizer of the family may hold.

    Raises:
        CheckpointError: the step fails or gives options that are no numbers.
    """
    kind = type(saved.optimizer)
    place = f"The state of {kind.__name__}"
    for group in saved.groups:
        _check_options({k: v for k, v in group.items() if k != "params"}, kind.__name__)
    if not kind.__module__.startswith("torch.optim"):
        # Its step may do anything.
        return
    for group in saved.groups:
        _check_ranges(kind, group)
    for values in (state or {}).values():
        _check_counts(kind.__name__, values)
    for parameter, values in (state or {}).items():
        groups = [g for g in saved.groups if any(p is parameter for p in g["params"])]
        if not groups or not values:
            continue
        group = groups[0]
        try:
            _step(kind, parameter, group, {}, steps=2)
        except Exception:
            # A step of this kind needs the numbers.
            continue
        try:
            _step(kind, parameter, group, values, steps=1)
        except Exception as error:
            reason = str(error).split("\n", 1)[0][:200]
            raise CheckpointError(
                f"{place} does not fit a parameter of shape {tuple(parameter.shape)}: {reason}"
            ) from error


def _check_counts(kind: str, values: Any) -> None:
    """Refuse numbers of updates of a parameter that are no whole numbers of at least 0."""
    for name in COUNTS if isinstance(values, Mapping) else ():
        value = values.get(name, 0)
        one = isinstance(value, torch.Tensor) and value.numel() == 1
        number = value.item() if one else value
        whole = isinstance(number, int | float) and not isinstance(number, bool)
        if not (whole and 0 <= number <= MAX_COUNT and number == int(number)):
            raise CheckpointError(f"{name} of {kind} is {value!r:.60}: expected a count.")


def _check_ranges(kind: Any, group: Mapping[str, Any]) -> None:
    """Let the constructor of the optimizer judge the numbers of a group."""
    known = inspect.signature(kind).parameters
    numbers = {
        name: value
        for name, value in group.items()
        if name in known and name != "params" and not isinstance(value, bool | str | None)
    }
    try:
        kind([nn.Parameter(torch.zeros(1))], **numbers)
    except Exception as error:
        raise CheckpointError(f"An option of {kind.__name__} is out of range: {error}") from error


def _step(
    kind: Any,
    parameter: torch.Tensor,
    group: Mapping[str, Any],
    state: Mapping[str, Any],
    steps: int,
) -> None:
    stand_in = nn.Parameter(torch.empty_like(parameter, device="meta"))
    options = {key: copy.copy(value) for key, value in group.items() if key != "params"}
    options |= {key: False for key in DEVICE_OPTIONS if key in options}
    optimizer: torch.optim.Optimizer = kind([stand_in], lr=float(group["lr"]))
    optimizer.param_groups[0].update(options)
    if state:
        optimizer.state[stand_in] = {name: _bodiless(value) for name, value in state.items()}
    for _ in range(steps):
        stand_in.grad = torch.empty_like(stand_in)
        optimizer.step()


def _bodiless(value: Any) -> Any:
    """A tensor of the same shape without memory; numbers are copied."""
    if isinstance(value, torch.Tensor):
        return value.to("meta") if value.ndim else value.detach().clone()
    return copy.deepcopy(value)


def _check_options(options: Mapping[str, Any], kind: str) -> None:
    for name, value in options.items():
        parts = value if isinstance(value, list | tuple) else [value]
        numbers = [p.item() if isinstance(p, torch.Tensor) and p.numel() == 1 else p for p in parts]
        for number in numbers:
            known = number is None or isinstance(number, bool | str)
            if not known and (not isinstance(number, int | float) or not math.isfinite(number)):
                raise CheckpointError(f"{name} of {kind} is {value!r:.60}: expected a number.")
            if not known and name in ("lr", "weight_decay", "eps", "momentum") and number < 0:
                raise CheckpointError(f"{name} of {kind} is {value!r:.60}: expected 0 or more.")


def rehearse_schedule(course: ActiveSchedule, optimizer: torch.optim.Optimizer) -> None:
    """Step copies of the schedulers; nothing is changed.

    Raises:
        CheckpointError: the schedule fails, or gives a rate that is no number of at least 0.
    """
    try:
        _, rates = forecast(course, optimizer, 0, 3)
        if course.schedulers and not course.waits and len(rates) < 2:
            raise ValueError("it cannot be stepped")
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
            raise ValueError(f"it leads to the rates {rates.tolist()}")
    except Exception as error:
        reason = f"{kind_of(error)}: {str(error)[:200]}"
        raise CheckpointError(f"The schedule of the checkpoint cannot go on: {reason}") from error
