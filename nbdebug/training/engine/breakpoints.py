"""Breakpoints: conditions that pause training before the update of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from nbdebug.core.commands.breakpoint_condition import Condition, parse
from nbdebug.core.error_text import describe_error
from nbdebug.core.history.history import History
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Notice
from nbdebug.core.results.timeline import ActiveBreakpoints
from nbdebug.errors import ArgumentError

ConditionFunction = Callable[[Mapping[str, float]], Any]
STEP_VALUES = ("step", "samples", "epoch", "loss", "grad_norm", "lr", "batch_size")


class Break(Exception):  # noqa: N818
    """Raised if a condition holds; the update of this step is still to be made."""


@dataclass(frozen=True)
class Inspection:
    """Data of the step that training stopped in, before its update.

    Attributes:
        batch: batch on the device; indices: [B] indices of its samples, None for a stream.
        outputs, targets: outputs and targets of the batch, None with a `step_fn`.
        gradients: gradients before clipping, by parameter name.
    """

    step: int
    batch: Any
    indices: torch.Tensor | None
    outputs: Any
    targets: Any
    loss: float
    gradients: dict[str, torch.Tensor]


NOT_STOPPED = Inspection(-1, None, None, None, None, math.nan, {})


@dataclass
class _TrendCounter:
    """Counter of consecutive rises and falls of a series."""

    step: int = -1
    value: float = math.nan
    times: dict[str, int] = field(default_factory=lambda: {"rises": 0, "falls": 0})

    def update(self, step: int, value: float) -> None:
        """Count a measurement, if it is newer than the last one."""
        if step <= self.step or math.isnan(value):
            return
        if not math.isnan(self.value):
            grew = {"rises": value > self.value, "falls": value < self.value}
            self.times = {name: self.times[name] + 1 if grew[name] else 0 for name in grew}
        self.step, self.value = step, value


class Breakpoints:
    """All breakpoint conditions, evaluated once per step.

    Attributes:
        inspection: the step that training stopped in, None if it did not stop in one.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._conditions: dict[str, Condition | ConditionFunction] = {}
        self._trends: dict[str, _TrendCounter] = {}
        self._passed_step = -1
        self.inspection: Inspection | None = None

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def check(self, condition: str | ConditionFunction) -> str:
        """Check a condition and return the name of its breakpoint.

        Raises:
            ArgumentError: the condition cannot be parsed, or names an unknown series.
        """
        if not isinstance(condition, str) and callable(condition):
            return str(getattr(condition, "__name__", type(condition).__name__))
        parsed = parse(condition)
        known = {*STEP_VALUES, *self._history.series}
        for name in parsed.names:
            # Before the first step the series of the probes are unknown.
            if name not in known and self._history.series:
                raise ArgumentError(unknown_name("series", name, sorted(known)))
        return parsed.text

    def add(self, condition: str | ConditionFunction) -> None:
        """Add a breakpoint."""
        name = self.check(condition)
        parsed = parse(condition) if isinstance(condition, str) else condition
        self._conditions[name] = parsed
        if isinstance(parsed, Condition):
            self._trends.update({trend: _TrendCounter() for trend in parsed.trends})
        self.publish()

    def remove(self, name: str | None = None) -> None:
        """Remove a breakpoint, or all of them for None."""
        self._conditions = {
            n: c for n, c in self._conditions.items() if name is not None and n != name
        }
        self.publish()

    def publish(self) -> None:
        """Publish the names of the breakpoints in History."""
        self._history.set_result(ActiveBreakpoints(tuple(self._conditions)))

    def reset_counts(self) -> None:
        """Reset all counters, after a rewind."""
        self._passed_step, self.inspection = -1, None
        self._trends = {name: _TrendCounter() for name in self._trends}

    def hit(self, values: Mapping[str, float]) -> str | None:
        """Return the name of the first condition that holds; a step pauses only once.

        Args:
            values: values of `STEP_VALUES` for the current step.
        """
        step = int(values["step"])
        for name, counter in self._trends.items():
            counter.update(*self._measured(name, values))
        if step == self._passed_step:
            return None
        for name, condition in list(self._conditions.items()):
            if self._holds(name, condition, values):
                self._passed_step = step
                return name
        return None

    def _holds(
        self, name: str, condition: Condition | ConditionFunction, values: Mapping[str, float]
    ) -> bool:
        if isinstance(condition, Condition):
            return condition.holds(
                lambda series: self._measured(series, values)[1],
                lambda series, direction: self._trends[series].times[direction],
            )
        try:
            return bool(condition({**self._history.snapshot(()).latest, **values}))
        except Exception as error:
            self.remove(name)
            text = f"{describe_error(error)}. Training continues without it."
            title = f"The breakpoint {name} failed and was removed"
            self._history.add_notice(Notice(int(values["step"]), "warning", title, text))
            return False

    def _measured(self, name: str, values: Mapping[str, float]) -> tuple[int, float]:
        """Step and value of the last measurement of a series."""
        if name in values:
            return int(values["step"]), values[name]
        return self._history.measured(name)
