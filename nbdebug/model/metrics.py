"""Metrics: functions of outputs and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Metric = Callable[[Any, Any], torch.Tensor | float]


class Metrics:
    """Named functions `metric(outputs, targets) -> scalar`, averaged over samples.

    Without any metric, accuracy is measured for outputs [N, C] with integer targets [N].
    """

    def __init__(self, metrics: Mapping[str, Metric] | None) -> None:
        self._metrics = metrics

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all metrics that may be measured."""
        return ("accuracy",) if self._metrics is None else tuple(self._metrics)

    @property
    def asked(self) -> bool:
        """True if the user gave metrics."""
        return bool(self._metrics)

    def measure(
        self, outputs: Any, targets: Any
    ) -> dict[str | tuple[str, ...], torch.Tensor | float]:
        """Values of the metrics by name; empty without outputs."""
        if outputs is None:
            return {}
        with torch.no_grad():
            if self._metrics is not None:
                return {name: metric(outputs, targets) for name, metric in self._metrics.items()}
            if _is_classification(outputs, targets):
                return {"accuracy": (outputs.argmax(1) == targets).float().mean()}
        return {}


def _is_classification(outputs: Any, targets: Any) -> bool:
    return (
        isinstance(outputs, torch.Tensor)
        and isinstance(targets, torch.Tensor)
        and outputs.ndim == 2
        and outputs.shape[1] > 1
        and targets.ndim == 1
        and len(targets) == len(outputs)
        and targets.dtype in (torch.int64, torch.int32, torch.uint8)
    )
