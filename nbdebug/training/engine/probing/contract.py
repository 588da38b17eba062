"""Contract that a probe must keep, so that it cannot stop training."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.errors import PluginError
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe


def attach(probe: Probe, session: TrainingState) -> None:
    """Attach a probe whose schedule makes sense; PluginError for another."""
    if type(probe.every) is not int or probe.every < 1:
        raise PluginError(f"every must be a whole number of steps from 1 on, got {probe.every!r}")
    if probe.cost not in ("cheap", "expensive"):
        raise PluginError(f'cost must be "cheap" or "expensive", got {probe.cost!r}')
    probe.attach(session)


def measured(names: str | tuple[str, ...], value: Any) -> torch.Tensor | float:
    """A measurement as the transfer to the host takes it, or PluginError."""
    if isinstance(names, str) and not isinstance(value, torch.Tensor):
        return float(value)
    tensor = torch.as_tensor(value)
    if tensor.is_complex() or tensor.layout is not torch.strided or not tensor.numel():
        raise PluginError(f"{names!r} needs real numbers, got {value!r}")
    if isinstance(names, tuple) and len(names) != tensor.numel():
        raise PluginError(f"{len(names)} series need as many values, got {value!r}")
    return tensor
