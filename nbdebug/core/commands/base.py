"""The contract of a command: a request to the training thread, and its form in the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from nbdebug.core.results.fork import ForkResult
from nbdebug.errors import ArgumentError

# The dashboard's name for values of several controls at once; see `Client.set`.
SET_CONTROLS = "set_controls"


class Form:
    """The fields that a button of the dashboard sends.

    Args:
        fields: plain values by name; what a person typed comes as text.
        who: the program that asks, as written down with changes.
    """

    def __init__(self, fields: Mapping[str, Any], who: str = "dashboard") -> None:
        self._fields, self.who = fields, who

    def text(self, name: str) -> str:
        """A field as text without white space around it; "" when it is missing."""
        value = self._fields.get(name)
        return "" if value is None else str(value).strip()

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that holds several texts: a list, or one text with commas between."""
        value = self._fields.get(name)
        parts = value if isinstance(value, list | tuple) else self.text(name).split(",")
        return tuple(text for text in (str(part).strip() for part in parts) if text)

    def integer(self, name: str) -> int | None:
        """A field as a whole number, None when it is empty.

        Raises:
            ArgumentError: it is something else.
        """
        text = self.text(name).replace(",", "")
        try:
            return int(text) if text else None
        except ValueError:
            raise ArgumentError(f"{name} must be a whole number, got {text!r}.") from None

    def position(self, name: str) -> int | str | None:
        """A step, or the name of a checkpoint; None when the field is empty."""
        text = self.text(name)
        try:
            return int(text.replace(",", "")) if text else None
        except ValueError:
            return text

    def settings(self, name: str = "settings") -> dict[str, Any]:
        """A field that holds values of controls by name; {} when it is missing."""
        value = self._fields.get(name)
        return dict(value) if isinstance(value, Mapping) else {}


class Validator(Protocol):
    """What a command is checked against before it is put in the queue."""

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they will be applied; ControlNameError or ControlValueError otherwise."""

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """Names of checks; without names all cheap ones, and with `slow` all."""

    def condition(self, condition: Any) -> None:
        """ArgumentError when this cannot be the condition of a breakpoint."""

    def last_fork(self) -> ForkResult | None:
        """The fork that was made last, None without one."""

    def clips(self) -> bool:
        """Whether gradients are clipped now."""


class Command:
    """A request to the training thread; frozen plain values.

    Attributes:
        name: unique; the dashboard asks by it.
        long: takes time, says how far it is, and ends when a halting command comes.
        halting: ends a long command that is under way or waits.
        runs: leaves training running; answered when training pauses again.
    """

    __slots__ = ()
    name: ClassVar[str]
    long: ClassVar[bool] = False
    halting: ClassVar[bool] = False
    runs: ClassVar[bool] = False

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """The command that a button asks for.

        Raises:
            ArgumentError: a field is wrong, or there is no button for this command.
        """
        raise ArgumentError(f"The dashboard cannot ask for {cls.name}.")

    def checked(self, validator: Validator) -> Self:
        """The command with its values as they will be applied.

        Raises:
            NbdebugError: a value is wrong; nothing was asked for.
        """
        return self
