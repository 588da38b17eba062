"""Names of the metrics of a training, and what the log of its trainer leaves out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Metrics that may be measured, as series `<name>` and `val_<name>`."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Tells if a trainer writes an average into its log where the loss is NaN or Inf."""

    hides_nan: bool
