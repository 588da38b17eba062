"""Base class of commands: requests to the training thread, and their forms in the dashboard."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self

from nbdebug.core.results.fork_result import ForkResult
from nbdebug.errors import ArgumentError

# May a dashboard of another process give it: the one that steers, anyone, none?
FromAfar = Literal["steer", "look", "never"]
# Where several ranks train together: done by all before the same step, by this one alone, refused.
OnRanks = Literal["all", "own", "none"]
# The dashboard's name for values of several controls at once; see `Client.set`.
SET_CONTROLS = "set_controls"


class Form:
    """The fields that a button of the dashboard sends.

    Args:
        fields: plain values by name; typed input is text.
        who: the requesting program, recorded with changes.
    """

    def __init__(self, fields: Mapping[str, Any], who: str = "dashboard") -> None:
        self._fields, self.who = fields, who

    def text(self, name: str) -> str:
        """A field as stripped text; "" if the field is missing."""
        value = self._fields.get(name)
        return "" if value is None else str(value).strip()

    def texts(self, name: str) -> tuple[str, ...]:
        """A field with several texts: a list, or one comma-separated text."""
        value = self._fields.get(name)
        parts = value if isinstance(value, list | tuple) else self.text(name).split(",")
        return tuple(text for text in (str(part).strip() for part in parts) if text)

    def integer(self, name: str) -> int | None:
        """A field as a whole number, None if the field is empty.

        Raises:
            ArgumentError: the field is not a whole number.
        """
        text = self.text(name).replace(",", "")
        try:
            return int(text) if text else None
        except ValueError:
            raise ArgumentError(f"{name} must be a whole number, got {text!r}.") from None

    def position(self, name: str) -> int | str | None:
        """A step, or the name of a checkpoint; None if the field is empty."""
        text = self.text(name)
        try:
            return int(text.replace(",", "")) if text else None
        except ValueError:
            return text

    def settings(self, name: str = "settings") -> dict[str, Any]:
        """A field with values of controls by name; {} if the field is missing."""
        value = self._fields.get(name)
        return dict(value) if isinstance(value, Mapping) else {}


def place(name: str, value: Any) -> int | str:
    """Convert a place in the timeline to a whole number of steps, or the name of a checkpoint.

    True and False stay as they are: the timeline refuses them with the range of its steps.

    Raises:
        ArgumentError: the value is neither.
    """
    if isinstance(value, str | bool):
        return value
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise ArgumentError(
        f"{name} must be a whole number of steps, or the name of a checkpoint; got {value!r:.80}."
    )


class Validator(Protocol):
    """Checks of a command before it is put in the queue."""

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Resolve the applied values, or raise ControlNameError or ControlValueError."""

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """Names of checks; without names all cheap ones, or all with `slow`."""

    def condition(self, condition: Any) -> None:
        """Raise ArgumentError if this is no condition of a breakpoint."""

    def last_fork(self) -> ForkResult | None:
        """The latest fork, None without one."""


class Command:
    """A request to the training thread; frozen plain values.

    Attributes:
        name: unique name, used by the dashboard.
        long: whether the command takes time, reports progress, and ends when a halting command
            comes.
        halting: whether the command ends a long one that runs or waits.
        runs: whether the command leaves training running; its answer comes when training pauses.
        ends_run: whether a run that somebody waits for ends with it, before it is done.
        inside: whether code that training runs (a loss, a hook) may give the command; it takes
            effect after the step.
        from_afar: who of those that are attached from other processes may give it: the one that
            steers, everybody that looks, or nobody.
        on_ranks: where several ranks train together: done by all before the same step, by this
            one alone, or refused.
    """

    __slots__ = ()
    name: ClassVar[str]
    long: ClassVar[bool] = False
    halting: ClassVar[bool] = False
    runs: ClassVar[bool] = False
    ends_run: ClassVar[bool] = False
    inside: ClassVar[bool] = False
    from_afar: ClassVar[FromAfar] = "steer"
    on_ranks: ClassVar[OnRanks] = "none"

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Create the command from the fields of a button.

        Raises:
            ArgumentError: a field is invalid, or there is no button for this command.
        """
        raise ArgumentError(f"The dashboard has no button for {cls.name}.")

    def checked(self, validator: Validator) -> Self:
        """Return the command with its values as they will be applied.

        Raises:
            NbdebugError: a value is invalid; no command was sent.
        """
        return self

    def taken_back(self, old: Any, why: str) -> Self | None:
        """Command that takes this one back, where it changed a value that was `old`."""
        return None


class NoFields:
    """Form of a command whose button sends no fields; stands before `Command` among the bases."""

    __slots__ = ()

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Create the command with its defaults."""
        return cls()
