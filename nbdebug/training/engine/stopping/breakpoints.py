"""Breakpoints: conditions that pause training before the update of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from nbdebug.core.commands.breakpoint_condition import Condition, parse
from nbdebug.core.error_text import describe_error
from nbdebug.core.history.history import History
from nbdebug.core.names import did_you_mean, unknown_name
from nbdebug.core.records import Notice
from nbdebug.core.results.timeline import ActiveBreakpoints
from nbdebug.errors import ArgumentError
from nbdebug.training.data.batch import Batch
from nbdebug.training.data.val_function import ValidationFunction
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.step_recorder import OPTIMIZER_SERIES, SCALER_SERIES, STEP_SERIES

ConditionFunction = Callable[[Mapping[str, float]], Any]
STEP_VALUES = ("step", "samples", "epoch", "loss", "grad_norm", "lr", "batch_size")


# Of the probes, beside a series for each of their names; a group has a member of each layer.
PROBE_SERIES = (
    "overshoot", "eval_loss", "constant_loss", "data_term", "constant_data_term", "left_gradient",
    "output_spread", "memory_mb", "grad_norm_clipped", "clip_norm", "clip_limit", "clipped",
    "norm_values", "in_eval", "uphill", "optimizer_age",
)  # fmt: skip
PROBE_GROUPS = (
    "grad_norm", "update_ratio", "activation_mean", "activation_std", "near_zero", "dead",
    "saturated", "variance_shift", "idle", "missed",
)  # fmt: skip


@dataclass(frozen=True)
class PossibleSeries:
    """Series that a training may have once it runs.

    Attributes:
        names: of the series; groups: those with a member for each layer, as `dead/0`.
        others: whether plug-ins of others may add series of any name.
        any_val: whether a function of the user's own names what it validates.
    """

    names: frozenset[str]
    groups: frozenset[str]
    others: bool
    any_val: bool = False

    def may_have(self, name: str) -> bool:
        """Tell if the training may have this series."""
        group, _, member = name.partition("/")
        if self.any_val and name.startswith("val_"):
            return True
        return name in self.names or (bool(member) and group in self.groups)


def possible_series(
    session: Session, numeric: Iterable[str], probes: Iterable[object]
) -> PossibleSeries:
    """Series that a training may have.

    Args:
        numeric: names of the controls with a number; probes: the probes of the training.
    """
    measured = ("loss", *session.metrics.names)
    held_out = [f"val_{name}" for name in measured if session.validation is not None]
    names = {*STEP_SERIES, *SCALER_SERIES, *PROBE_SERIES, *numeric, *measured, *held_out}
    names |= {f"{one}/{name}" for name in session.named_optimizers for one in OPTIMIZER_SERIES}
    others = any(not type(probe).__module__.startswith("nbdebug.") for probe in probes)
    any_val = isinstance(session.validation, ValidationFunction)
    return PossibleSeries(
        frozenset(names | {*STEP_VALUES}), frozenset(PROBE_GROUPS), others, any_val
    )


class Break(Exception):  # noqa: N818
    """Raised if a condition holds; the update of this step is still to be made."""


@dataclass(frozen=True)
class Inspection:
    """Data of the step that training stopped in, before its update.

    Attributes:
        batch: batch on the device, of several the last one, or that with a NaN or Inf; indices: [B]
            indices of its samples, None for a stream; whole: all batches of the step.
        outputs, targets: outputs and targets of the batch, None with a `step_fn`, and for one of
            several that is not the last.
        gradients: gradients before clipping, by parameter name; norm: of the step that would be
            recorded.
    """

    step: int
    batch: Any
    indices: torch.Tensor | None
    outputs: Any
    targets: Any
    loss: float
    gradients: dict[str, torch.Tensor]
    whole: Batch | None = None
    norm: float = math.nan


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

    def __init__(self, history: History, possible: PossibleSeries | None = None) -> None:
        self._history, self._possible = history, possible
        self._conditions: dict[str, Condition | ConditionFunction] = {}
        self._trends: dict[str, _TrendCounter] = {}
        self._passed_step = -1
        self.inspection: Inspection | None = None

    def __bool__(self) -> bool:
        return bool(self._conditions)

    @property
    def measured(self) -> frozenset[str]:
        """Names of series that nbdebug measures itself."""
        return frozenset() if self._possible is None else self._possible.names - {"loss"}

    def check(self, condition: str | ConditionFunction) -> str:
        """Check a condition and return the name of its breakpoint.

        Raises:
            ArgumentError: the condition cannot be parsed, or names an unknown series.
        """
        if not isinstance(condition, str) and callable(condition):
            return str(getattr(condition, "__name__", type(condition).__name__))
        parsed = parse(condition)
        for name in parsed.names:
            self._check_series(name)
        return parsed.text

    def _check_series(self, name: str) -> None:
        """Raise ArgumentError for a series that cannot exist: its breakpoint would never fire."""
        seen = {*STEP_VALUES, *self._history.series}
        possible = self._possible
        if name in seen or (possible is not None and possible.may_have(name)):
            return
        known = {*seen, *(() if possible is None else possible.names)}
        near = did_you_mean(name, known)
        # Series of plug-ins are unknown before the first step.
        if near or possible is None or not possible.others or self._history.series:
            raise ArgumentError(unknown_name("series", name, known))

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
