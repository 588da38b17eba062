"""Names of the metrics of a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Metrics that may be measured, as series `<name>` and `val_<name>`."""

    names: tuple[str, ...] = ()
