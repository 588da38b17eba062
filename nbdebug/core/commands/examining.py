"""Commands that examine a training between two steps without changing it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from nbdebug.core.commands.base import Command, Form, FromAfar, NoFields, OnRanks, Validator, place
from nbdebug.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class RunLrRangeTest(NoFields, Command):
    """Sweep the learning rate from `low` to `high` over `steps` batches, then restore training.

    Raises:
        ArgumentError: low is not above 0, high not above low, or steps not in [10, 10000].
    """

    name: ClassVar[str] = "lr_range_test"
    long: ClassVar[bool] = True
    low: float = 1e-7
    high: float = 10.0
    steps: int = 100

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise ArgumentError(f"{name} must be a number above 0, got {value!r}.")
        if self.low >= self.high:
            raise ArgumentError(f"low must be below high, got {self.low!r} and {self.high!r}.")
        if type(self.steps) is not int or not 10 <= self.steps <= 10_000:
            raise ArgumentError(
                f"steps must be a whole number from 10 to 10000, got {self.steps!r}."
            )


@dataclass(frozen=True, slots=True)
class RunChecks(Command):
    """Run checks of the checklist.

    Attributes:
        checks: names of checks; () for all cheap ones.
        slow: without names, include the checks that train for some seconds.
    """

    name: ClassVar[str] = "run_checks"
    long: ClassVar[bool] = True
    checks: tuple[str, ...] = ()
    slow: bool = False

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `checks`: comma-separated names."""
        return cls(form.texts("checks"))

    def checked(self, validator: Validator) -> Self:
        """Resolve the names of the checks; CheckNameError for an unknown one."""
        return replace(self, checks=validator.check_names(self.checks, self.slow))


@dataclass(frozen=True, slots=True)
class AskChecks(Command):
    """Let checks that rules ask for run by themselves, when training can afford them."""

    name: ClassVar[str] = "ask_checks"
    inside: ClassVar[bool] = True
    from_afar: ClassVar[FromAfar] = "never"
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SummarizeModel(Command):
    """Run one batch through the model and list its modules."""

    name: ClassVar[str] = "summarize_model"
    from_afar: ClassVar[FromAfar] = "look"
    long: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class RecordFlight(Command):
    """Rerun the last steps and record the output of every module."""

    name: ClassVar[str] = "record_flight"
    long: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class FindWorstSamples(Command):
    """Evaluate each sample of a batch alone and list those with the largest losses.

    Attributes:
        step: step of the batch; None for the step that training stopped in, else the last one.
        top: number of samples to list.

    Raises:
        ArgumentError: step is no place, or top is not a whole number from 1 on.
    """

    name: ClassVar[str] = "find_worst_samples"
    long: ClassVar[bool] = True
    step: int | str | None = None
    top: int = 8

    def __post_init__(self) -> None:
        if type(self.top) is not int or self.top < 1:
            raise ArgumentError(f"top must be a whole number from 1 on, got {self.top!r}.")
        if self.step is not None:
            object.__setattr__(self, "step", place("step", self.step))

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `step`; empty for the batch that training stopped in."""
        return cls(form.integer("step"))


@dataclass(frozen=True, slots=True)
class CloseWorstSamples(NoFields, Command):
    """Remove the table of samples."""

    name: ClassVar[str] = "close_worst_samples"


@dataclass(frozen=True, slots=True)
class CompareRanks(Command):
    """Compute a number from the weights, which is equal on ranks that have equal weights."""

    name: ClassVar[str] = "compare_ranks"
    from_afar: ClassVar[FromAfar] = "never"
    on_ranks: ClassVar[OnRanks] = "own"
