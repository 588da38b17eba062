"""Commands of the timeline: checkpoint, rewind, fork, replay, breakpoints, script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from nbdebug.core.commands.base import Command, Form, NoFields, OnRanks, Validator, place
from nbdebug.core.results.fork_result import ForkResult, Trial
from nbdebug.errors import ArgumentError

MAX_VARIANTS = 16
MAX_FORK_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class NameCheckpoint(Command):
    """Take a checkpoint and give it a name.

    Raises:
        ArgumentError: the name is not a text.
    """

    name: ClassVar[str] = "checkpoint"
    label: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.label, str):
            raise ArgumentError(f"The name of a checkpoint is a text, got {self.label!r:.80}.")

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `label`."""
        return cls(form.text("label"))


@dataclass(frozen=True, slots=True)
class SaveCheckpoint(Command):
    """Write the state of training to disk."""

    name: ClassVar[str] = "save_checkpoint"


@dataclass(frozen=True, slots=True)
class Rewind(Command):
    """Rewind to a step, by a number of steps (negative) or to a name, and pause there.

    Raises:
        ArgumentError: the target is neither a whole number nor a text.
    """

    name: ClassVar[str] = "rewind"
    ends_run: ClassVar[bool] = True
    long: ClassVar[bool] = True
    target: int | str
    who: str = "api"
    why: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", place("step", self.target))

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `step`: a step or the name of a checkpoint."""
        target = form.position("step")
        return cls("" if target is None else target, who=form.who)


@dataclass(frozen=True, slots=True)
class Undo(NoFields, Command):
    """Take back the last change of controls that is still in force, as a change of its own."""

    name: ClassVar[str] = "undo"


@dataclass(frozen=True, slots=True)
class UndoAndRewind(NoFields, Command):
    """Rewind to before the last change of controls that is still in force, and pause there."""

    name: ClassVar[str] = "undo_and_rewind"
    ends_run: ClassVar[bool] = True
    long: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Replay(NoFields, Command):
    """Rerun all steps from the beginning and compare; training stays where it is."""

    name: ClassVar[str] = "replay"
    long: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ForkSteps(Command):
    """Train `steps` steps with and without changes; training stays where it is.

    Attributes:
        changes: the variants to try, each with the values of some controls.
        start: the first step, as for `Rewind`; None for the current one.
        for_finding: name of the finding that the change should cure, or "".
        passed_over: its remedies that no control can set.

    Raises:
        ArgumentError: steps is not a whole number from 1 to 100,000, start is no place, or there
            is no variant or more than 16.
    """

    name: ClassVar[str] = "fork"
    long: ClassVar[bool] = True
    steps: int
    changes: tuple[Mapping[str, Any], ...]
    start: int | str | None = None
    for_finding: str = ""
    passed_over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if type(self.steps) is not int or not 1 <= self.steps <= MAX_FORK_STEPS:
            raise ArgumentError(
                f"steps must be a whole number from 1 to {MAX_FORK_STEPS}, got {self.steps!r}."
            )
        if self.start is not None:
            object.__setattr__(self, "start", place("start", self.start))
        if not self.changes:
            raise ArgumentError("A list of values to try is empty: give at least one value.")
        if len(self.changes) > MAX_VARIANTS:
            raise ArgumentError(
                f"A fork has at most {MAX_VARIANTS} variants, got {len(self.changes)}."
            )

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `steps`, `start`, and `settings` or a `control` with comma-separated `values`."""
        steps = form.integer("steps")
        if steps is None:
            raise ArgumentError("steps must be a whole number, got ''.")
        settings, control = form.settings(), form.text("control")
        changes: tuple[Mapping[str, Any], ...] = (settings,)
        if not settings:
            changes = tuple({control: _number_or_text(value)} for value in form.texts("values"))
        return cls(steps, changes, form.position("start"), form.text("for_finding"))

    def checked(self, validator: Validator) -> Self:
        """The same with values as they will be applied."""
        return replace(self, changes=tuple(validator.controls(one) for one in self.changes))


@dataclass(frozen=True, slots=True)
class KeepFork(Command):
    """Rewind to a fork, apply its change there and train its steps.

    Attributes:
        which: number of the variant; fork: the fork, None for the latest one.
    """

    name: ClassVar[str] = "keep_fork"
    ends_run: ClassVar[bool] = True
    long: ClassVar[bool] = True
    runs: ClassVar[bool] = True
    which: int
    fork: ForkResult | None = None
    who: str = "api"

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `which`."""
        return cls(form.integer("which") or 0, who=form.who)

    def checked(self, validator: Validator) -> Self:
        """Resolve the fork; ArgumentError if there is no such fork or variant."""
        resolved = replace(self, fork=self.fork or validator.last_fork())
        resolved.chosen()
        return resolved

    def chosen(self) -> tuple[ForkResult, Trial]:
        """The fork and its variant to keep; ArgumentError if there is no such fork or variant."""
        if self.fork is None:
            raise ArgumentError("There is no fork to keep: create one first.")
        last = len(self.fork.trials) - 1
        if type(self.which) is not int or not 0 <= self.which <= last:
            raise ArgumentError(f"which must be from 0 to {last}; got {self.which!r:.80}.")
        return self.fork, self.fork.trials[self.which]


@dataclass(frozen=True, slots=True)
class DiscardFork(NoFields, Command):
    """Remove the last fork."""

    name: ClassVar[str] = "discard_fork"


@dataclass(frozen=True, slots=True)
class BreakWhen(Command):
    """Pause before the update of a step at which a condition holds."""

    name: ClassVar[str] = "break_when"
    on_ranks: ClassVar[OnRanks] = "own"
    condition: Any

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `condition`."""
        return cls(form.text("condition"))

    def checked(self, validator: Validator) -> Self:
        """Check the condition, or raise ArgumentError."""
        validator.condition(self.condition)
        return self


@dataclass(frozen=True, slots=True)
class ClearBreakpoint(Command):
    """Remove a breakpoint, or all of them for None."""

    name: ClassVar[str] = "clear_breakpoint"
    on_ranks: ClassVar[OnRanks] = "own"
    breakpoint: str | None = None

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `breakpoint`, the name."""
        return cls(form.text("breakpoint"))


@dataclass(frozen=True, slots=True)
class WriteScript(Command):
    """Replay all steps and write them as a plain PyTorch program.

    Attributes:
        model: the expression that builds the model; data: a function that loads the data.
    """

    name: ClassVar[str] = "write_script"
    long: ClassVar[bool] = True
    path: str
    model: str | None = None
    data: Callable[[], Any] | None = None


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
