"""Names of metrics, of schedulers that a loop steps, and the filter of a trainer's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Metrics that may be measured, as series `<name>` and `val_<name>`."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopSchedule:
    """Schedulers that a loop of the user's own steps, in words; "" without any."""

    schedulers: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Tells if a trainer writes an average into its log where the loss is NaN or Inf."""

    hides_nan: bool
