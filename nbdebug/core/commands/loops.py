"""Commands that a loop of the user's own gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nbdebug.core.attributes import attribute, has
from nbdebug.core.commands.base import Command, FromAfar, OnRanks
from nbdebug.errors import ArgumentError

NAME = re.compile(r"[A-Za-z_]\w*(?:[/.@ -]\w+)*")


@dataclass(frozen=True, slots=True)
class LogValues(Command):
    """Write named values of a step to History.

    Attributes:
        line: of the user's code that logs them, "" if unknown.

    Raises:
        ArgumentError: a name is no name of a series, or a value is no number.
    """

    name: ClassVar[str] = "log_values"
    inside: ClassVar[bool] = True
    from_afar: ClassVar[FromAfar] = "never"
    on_ranks: ClassVar[OnRanks] = "own"
    step: int
    values: Mapping[str, Any]
    line: str = ""

    def __post_init__(self) -> None:
        checked_values(self.values)


def is_readable(name: Any) -> bool:
    """True for a name that a record gives back as it is: of letters and signs that can be seen."""
    return isinstance(name, str) and name.isprintable() and bool(name) and name == name.strip()


def checked_values(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, or ArgumentError for a name that is none of a series, or for no number."""
    for name, value in values.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ArgumentError(f"{name!r:.80} is no name of a series, such as val_accuracy.")
        if attribute(value, "numel", lambda: 1)() != 1 or not has(value, "__float__"):
            raise ArgumentError(f"{name} is {value!r:.80}: expected a number.")
    return values
