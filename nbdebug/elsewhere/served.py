"""A training as it is served: its two doors, and what is read beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History


@dataclass(frozen=True)
class Served:
    """A training; no member touches the model, all may be called from any thread.

    Attributes:
        name: of the training; history: the door out.
        put: the door in; checks a command and puts it into the queue.
        check: values of controls as they will be applied, or an error.
        new_call: number for the commands of one call of `set`.
        states: the controls with their values in force.
        diagnose: evaluates the rules if that is due.
        slow: what takes a moment, by name, such as the findings now or the record.
        about: what does not change, for who attaches.
    """

    name: str
    history: History
    put: Callable[[Command], Ticket]
    check: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    new_call: Callable[[], int]
    states: Callable[[], Sequence[ControlState]]
    diagnose: Callable[[], None] = lambda: None
    slow: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
