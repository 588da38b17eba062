"""Queue of commands, and their checks, of a training in another process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.commands.running import SetControl
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.elsewhere.link import Link
from nbdebug.errors import ArgumentError, ClosedError


class FarQueue:
    """Puts commands into the queue of a training in another process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._waiting: list[Ticket] = []

    def new_call(self) -> int:
        """Number for the commands of one call; see `CommandQueue.new_call`."""
        return int(self._link.ask("new_call")["call"])

    def put(self, command: Command, *, inside: bool = False) -> Ticket:
        """Put a command there; its ticket is answered once its result is here.

        Raises:
            SteeringError: somebody else steers.
            Exception: the command is refused at once, as it would be there.
        """
        try:
            answer = self._link.begin("put", command=command)
        except ClosedError as error:
            answer = Future()
            answer.set_exception(error)
        ticket = Ticket(command, command.halting, answer)
        with self._lock:
            self._waiting = [one for one in self._waiting if not one.answer.done()] + [ticket]
        return ticket

    def pending(self) -> dict[str, Any]:
        """Controls with a waiting command, each with its latest value."""
        with self._lock:
            commands = [one.command for one in self._waiting if not one.answer.done()]
        return {c.control: c.value for c in commands if isinstance(c, SetControl)}


class FarValidator:
    """Checks of commands, made by the training in another process."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they will be applied; raises ControlNameError or ControlValueError."""
        return dict(self._link.ask("check", values=dict(values))["values"])

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """The names as they are: the other process checks them when the command comes."""
        return tuple(names)

    def condition(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """Refuse a function; texts are checked when the command comes."""
        if not isinstance(condition, str):
            raise ArgumentError(
                "A function cannot be sent to another process: give the condition as a text, such "
                'as "grad_norm > 10".'
            )

    def last_fork(self) -> ForkResult | None:
        """Latest fork, or None."""
        return self._link.history.results.of(ForkResult)
