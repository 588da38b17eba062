"""Facts of the user's loop: metrics, schedulers, a filtered log, cleared gradients."""

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


@dataclass(frozen=True, slots=True)
class ClearedGradients:
    """A loop of its own cleared gradients between the backward pass and the update.

    Attributes:
        step: the first step in which it did.
    """

    step: int
