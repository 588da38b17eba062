"""Commands that run, pause, reset or close training, or change its controls."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from nbdebug.core.commands.base import Command, Form, FromAfar, NoFields, OnRanks, Validator
from nbdebug.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class SetControl(Command):
    """Give a control a new value at the next step boundary.

    Attributes:
        call: number of the call that sets several controls, which are taken back together; 0 for
            a value of its own.
    """

    name: ClassVar[str] = "set_control"
    on_ranks: ClassVar[OnRanks] = "all"
    control: str
    value: Any
    who: str = "api"
    why: str = ""
    call: int = 0

    def checked(self, validator: Validator) -> Self:
        """Resolve the applied value, or raise ControlNameError or ControlValueError."""
        values = validator.controls({self.control: self.value})
        return replace(self, value=values[self.control])

    def taken_back(self, old: Any, why: str) -> Self:
        """The old value again."""
        return replace(self, value=old, why=why)


@dataclass(frozen=True, slots=True)
class Run(Command):
    """Train until paused, or for a number of steps or epochs.

    Raises:
        ArgumentError: steps is not a whole number, or a value is negative.
    """

    name: ClassVar[str] = "run"
    on_ranks: ClassVar[OnRanks] = "all"
    runs: ClassVar[bool] = True
    ends_run: ClassVar[bool] = True
    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and (type(self.steps) is not int or self.steps < 0):
            raise ArgumentError(f"steps must be a whole number from 0 on, got {self.steps!r}.")
        if self.epochs is None:
            return
        if type(self.epochs) not in (int, float) or not 0 <= self.epochs < math.inf:
            raise ArgumentError(f"epochs must be a number from 0 on, got {self.epochs!r}.")

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `steps` or `epochs`; both empty to train until paused."""
        return cls(form.integer("steps"), form.integer("epochs"))


@dataclass(frozen=True, slots=True)
class Pause(NoFields, Command):
    """Finish the current step, then wait."""

    name: ClassVar[str] = "pause"
    on_ranks: ClassVar[OnRanks] = "all"
    halting: ClassVar[bool] = True
    inside: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Reset(Command):
    """Restart from the beginning: weights, optimizer, RNG, data order and controls."""

    name: ClassVar[str] = "reset"
    ends_run: ClassVar[bool] = True
    halting: ClassVar[bool] = True
    who: str = "api"

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Create the command; the form has no fields."""
        return cls(form.who)


@dataclass(frozen=True, slots=True)
class Stop(NoFields, Command):
    """End the current long command; training is as before it."""

    name: ClassVar[str] = "stop"
    on_ranks: ClassVar[OnRanks] = "all"
    halting: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Close(Command):
    """End the training thread after the current step."""

    name: ClassVar[str] = "close"
    on_ranks: ClassVar[OnRanks] = "own"
    from_afar: ClassVar[FromAfar] = "never"
    ends_run: ClassVar[bool] = True
    halting: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class WatchProbe(Command):
    """Switch an on-demand probe on or off.

    Attributes:
        viewer: who watches; a probe is on while anybody does.
    """

    name: ClassVar[str] = "watch_probe"
    on_ranks: ClassVar[OnRanks] = "own"
    from_afar: ClassVar[FromAfar] = "look"
    probe: str
    on: bool
    viewer: str = ""


@dataclass(frozen=True, slots=True)
class ReestimateBatchNorm(Command):
    """Estimate BatchNorm's running statistics again from training batches, between two steps."""

    name: ClassVar[str] = "reestimate_batchnorm"
    who: str = "api"
    why: str = ""

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Create the command; the form has no fields."""
        return cls(form.who)


def has_goal(command: Command) -> bool:
    """True for a command that ends by itself."""
    return not isinstance(command, Run) or (command.steps, command.epochs) != (None, None)
