"""Metrics: functions of outputs and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

K = TypeVar("K")
Metric = Callable[[Any, Any], torch.Tensor | float]


class Metrics:
    """Named functions `metric(outputs, targets) -> scalar`, averaged over samples.

    Without any metric, accuracy is measured for outputs [N, C] with integer targets [N], of those
    that are no less than 0.
    """

    def __init__(self, metrics: Mapping[str, Metric] | None) -> None:
        self._metrics = metrics

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all metrics that may be measured."""
        return ("accuracy",) if self._metrics is None else tuple(self._metrics)

    @property
    def functions(self) -> Mapping[str, Metric]:
        """The metrics that the user gave."""
        return self._metrics or {}

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
                # Labels below 0, such as -100, stand for no class.
                known = targets >= 0
                right = (outputs.argmax(1) == targets) & known
                return {"accuracy": right.sum() / known.sum().clamp_min(1)}
        return {}


def averaged(parts: Sequence[tuple[int, Mapping[K, Any]]]) -> dict[K, Any]:
    """Averages of named values over batches, weighted by their samples.

    Args:
        parts: of each batch its number of samples, and its values; one that lacks a name does not
            count for it.
    """
    found: dict[K, Any] = {}
    for name in dict.fromkeys(name for _, values in parts for name in values):
        held = [(count, values[name]) for count, values in parts if name in values]
        total = sum(count for count, _ in held)
        found[name] = sum(count * _detached(value) for count, value in held) / total
    return found


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


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
