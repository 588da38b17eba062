"""Client of the command queue: puts commands and waits for answers; buttons use it too."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.commands.running import Pause, SetControl
from nbdebug.core.history.history import History
from nbdebug.core.results.fork import ForkResult
from nbdebug.debugger.home_process import HomeProcess
from nbdebug.errors import ClosedError
from nbdebug.training.engine.breakpoints import Breakpoints
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.tasks.check_runner import CheckRunner

# Waits are cut into slices, in seconds, so that an interrupt gets through on every platform.
WAIT_SLICE = 0.1


class CommandValidator:
    """Checks commands against the controls, checks and series of one training."""

    def __init__(
        self, controls: ControlSet, checks: CheckRunner, breakpoints: Breakpoints, history: History
    ) -> None:
        self._controls, self._checks = controls, checks
        self._breakpoints, self._history = breakpoints, history

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they will be applied; raises ControlNameError or ControlValueError."""
        return self._controls.validate(values)

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """Names of checks to run; without names all cheap checks, with `slow` all checks."""
        return self._checks.chosen(names, slow)

    def condition(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """Raise ArgumentError if this cannot be the condition of a breakpoint."""
        self._breakpoints.check(condition)

    def last_fork(self) -> ForkResult | None:
        """Latest fork, or None."""
        return self._history.results.of(ForkResult)


class Client:
    """Sender of commands to the training thread; holds no reference to the Debugger."""

    def __init__(
        self, queue: CommandQueue, history: History, validator: CommandValidator, home: HomeProcess
    ) -> None:
        self._queue, self._history, self._validator, self._home = queue, history, validator, home

    def check_open(self) -> None:
        """Raise ClosedError if nobody would answer a command."""
        self._home.check()
        if self._history.status.state == "closed":
            raise ClosedError("This Debugger was closed; make a new one.")

    def put(self, command: Command) -> Ticket:
        """Put a command and return at once.

        Raises:
            ClosedError: the Debugger was closed, or this is a forked child.
            NbdebugError: a value of the command is wrong; no command was put.
        """
        self.check_open()
        return self._queue.put(command.checked(self._validator))

    def do(self, command: Command) -> Any:
        """Put a command and wait for its answer; interrupting the kernel pauses training.

        Raises:
            Exception: as `put`, or whatever the command raised.
        """
        ticket = self.put(command)
        try:
            return answer(ticket)
        except KeyboardInterrupt:
            with suppress(ClosedError):
                answer(self.put(Pause()))
            raise

    def set(self, values: Mapping[str, Any], who: str = "api", why: str = "") -> list[Ticket]:
        """Put one command per control, all or none.

        Raises:
            ControlNameError, ControlValueError: no command was put.
        """
        checked = self._validator.controls(values)
        return [self.put(SetControl(name, value, who, why)) for name, value in checked.items()]


def answer(ticket: Ticket) -> Any:
    """Wait for the answer of a command, and return or raise it."""
    while not ticket.answer.done():
        concurrent.futures.wait([ticket.answer], WAIT_SLICE)
    return ticket.answer.result()
