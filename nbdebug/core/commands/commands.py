"""What can be asked of the training thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nbdebug.core.results.fork import ForkResult
from nbdebug.errors import ArgumentError

MOST_WAYS = 16


@dataclass(frozen=True, slots=True)
class SetControl:
    """Give a control a new value at the next step boundary."""

    control: str
    value: Any
    who: str = "api"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """Train; pause again after so many more steps or epochs, on request when both are None.

    Raises:
        ArgumentError: steps is not a whole number, or one of them is negative.
    """

    steps: int | None = None
    epochs: float | None = None
    value: ClassVar[str] = "run"

    def __post_init__(self) -> None:
        if self.steps is not None and (type(self.steps) is not int or self.steps < 0):
            raise ArgumentError(f"steps must be a whole number from 0 on, got {self.steps!r}.")
        if self.epochs is None:
            return
        if type(self.epochs) not in (int, float) or not 0 <= self.epochs < math.inf:
            raise ArgumentError(f"epochs must be a number from 0 on, got {self.epochs!r}.")


@dataclass(frozen=True, slots=True)
class Pause:
    """Finish the step under way, then wait."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Go back to the beginning: weights, optimizer, RNG, data order and controls."""

    who: str = "api"


@dataclass(frozen=True, slots=True)
class Watch:
    """Switch an on-demand probe on or off."""

    probe: str
    on: bool


@dataclass(frozen=True, slots=True)
class Reestimate:
    """Estimate BatchNorm's running statistics anew, between two steps."""

    who: str = "api"
    why: str = ""
    control: ClassVar[str] = "bn_statistics"
    value: ClassVar[str] = "re-estimated"


@dataclass(frozen=True, slots=True)
class RangeTest:
    """Sweep the learning rate from `low` to `high` over `steps` batches, then undo it all.

    Raises:
        ArgumentError: low is not above 0, high not above low, or steps not in [10, 10000].
    """

    low: float = 1e-7
    high: float = 10.0
    steps: int = 100
    control: ClassVar[str] = "lr"
    value: ClassVar[str] = "range test"

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
class Examine:
    """Run checks of the checklist, between two steps; all cheap ones without names."""

    checks: tuple[str, ...] = ()
    control: ClassVar[str] = "checklist"


@dataclass(frozen=True, slots=True)
class Summarise:
    """Run one batch through the model and list its modules, between two steps."""

    control: ClassVar[str] = "summary"


@dataclass(frozen=True, slots=True)
class NameCheckpoint:
    """Take a checkpoint and give it a name."""

    name: str
    control: ClassVar[str] = "checkpoint"


@dataclass(frozen=True, slots=True)
class BreakWhen:
    """Pause before the update of a step at which a condition holds."""

    condition: Any
    control: ClassVar[str] = "break_when"


@dataclass(frozen=True, slots=True)
class ClearBreak:
    """Forget a breakpoint, all when None."""

    name: str | None = None
    control: ClassVar[str] = "clear_break"


@dataclass(frozen=True, slots=True)
class Rewind:
    """Go back to a step, a number of steps (negative) or a name; training pauses there."""

    target: int | str
    who: str = "api"
    why: str = ""
    control: ClassVar[str] = "rewind"


@dataclass(frozen=True, slots=True)
class ForkSteps:
    """Train so many steps with and without changes; training stays where it is.

    Attributes:
        changes: the ways to try, each the values of some controls.
        start: where to begin, as for `Rewind`; None where training stands.
        cures: name of the finding that the change is to cure, or "".

    Raises:
        ArgumentError: steps is not a whole number from 1 to 100,000, or there are too many ways.
    """

    steps: int
    changes: tuple[Mapping[str, Any], ...]
    start: int | str | None = None
    cures: str = ""
    control: ClassVar[str] = "fork"

    def __post_init__(self) -> None:
        if type(self.steps) is not int or not 1 <= self.steps <= 100_000:
            raise ArgumentError(
                f"steps must be a whole number from 1 to 100000, got {self.steps!r}."
            )
        if len(self.changes) > MOST_WAYS:
            raise ArgumentError(
                f"A fork has at most {MOST_WAYS} ways, {len(self.changes)} were asked for."
            )


@dataclass(frozen=True, slots=True)
class KeepFork:
    """Go back to a fork, make its change there and train its steps."""

    fork: ForkResult
    which: int
    who: str = "api"
    control: ClassVar[str] = "keep_fork"


@dataclass(frozen=True, slots=True)
class WriteScript:
    """Replay everything and write it as a plain PyTorch program.

    Attributes:
        model: the expression that builds the model; data: a function that loads the data.
    """

    path: str
    model: str | None = None
    data: Callable[[], Any] | None = None
    control: ClassVar[str] = "script"


@dataclass(frozen=True, slots=True)
class LookBack:
    """Run the last steps again on a copy, with a look at every module."""

    control: ClassVar[str] = "flight_record"


@dataclass(frozen=True, slots=True)
class FindCulprits:
    """Look at each sample of a batch alone, for those with the largest losses.

    Attributes:
        step: whose batch; None is the one that training stopped in, else the last one.

    Raises:
        ArgumentError: top is not a whole number from 1 on.
    """

    step: int | None = None
    top: int = 8
    control: ClassVar[str] = "culprits"

    def __post_init__(self) -> None:
        if type(self.top) is not int or self.top < 1:
            raise ArgumentError(f"top must be a whole number from 1 on, got {self.top!r}.")


@dataclass(frozen=True, slots=True)
class CloseCulprits:
    """Put the table of samples away."""

    control: ClassVar[str] = "close_culprits"


@dataclass(frozen=True, slots=True)
class DiscardFork:
    """Put the last fork away."""

    control: ClassVar[str] = "discard_fork"


@dataclass(frozen=True, slots=True)
class Replay:
    """Run everything again from the beginning and compare; training stays where it is."""

    control: ClassVar[str] = "replay"


@dataclass(frozen=True, slots=True)
class Stop:
    """End the checks or the range test under way; training is as before."""

    control: ClassVar[str] = "task"
    value: ClassVar[str] = "stop"


@dataclass(frozen=True, slots=True)
class Close:
    """End the training thread after the step under way."""


# What a panel calls a request for several controls at once.
SEVERAL = "settings"
HALTING = (Pause, Stop, Reset, Close)
# Each gives a result, or what it raised.
LONG = (
    RangeTest, Examine, Summarise, Rewind, ForkSteps, KeepFork, Replay, WriteScript, LookBack,
    FindCulprits,
)  # fmt: skip
Command = (
    SetControl | Run | Pause | Reset | Watch | Reestimate | RangeTest | Examine | Summarise
    | NameCheckpoint | BreakWhen | ClearBreak | Rewind | ForkSteps | KeepFork | Replay | Stop
    | DiscardFork | WriteScript | LookBack | FindCulprits | CloseCulprits | Close
)  # fmt: skip
