"""Puts commands in the queue and waits for their answers; the only way in, also for buttons."""

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
from nbdebug.errors import ClosedError
from nbdebug.training.engine.breakpoints import Breakpoints
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.tasks.check_runner import CheckRunner

# Waiting is cut into slices of so many seconds: an interrupt must get through on every platform.
SLICE = 0.1


class CommandValidator:
    """Checks commands against the controls, checks and series of one training."""

    def __init__(
        self, controls: ControlSet, checks: CheckRunner, breakpoints: Breakpoints, history: History
    ) -> None:
        self._controls, self._checks = controls, checks
        self._breakpoints, self._history = breakpoints, history

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they will be applied; ControlNameError or ControlValueError for a wrong one."""
        return self._controls.validate(values)

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """Names of checks; without names all cheap ones, and with `slow` all."""
        return self._checks.chosen(names, slow)

    def condition(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """ArgumentError when this cannot be the condition of a breakpoint."""
        self._breakpoints.check(condition)

    def last_fork(self) -> ForkResult | None:
        """The fork that was made last, None without one."""
        return self._history.results.of(ForkResult)


class Client:
    """Sends commands of one program to the training thread; holds no Debugger."""

    def __init__(self, queue: CommandQueue, history: History, validator: CommandValidator) -> None:
        self._queue, self._history, self._validator = queue, history, validator

    def put(self, command: Command) -> Ticket:
        """Put a command and return at once.

        Raises:
            ClosedError: the Debugger was closed.
            NbdebugError: a value of the command is wrong; nothing was asked for.
        """
        if self._history.status.state == "closed":
            raise ClosedError("This Debugger was closed; make a new one.")
        return self._queue.put(command.checked(self._validator))

    def do(self, command: Command) -> Any:
        """Put a command and wait for its answer; interrupting the kernel pauses training.

        Raises:
            Exception: as `put`, or whatever carrying out the command raised.
        """
        ticket = self.put(command)
        try:
            return answer(ticket)
        except KeyboardInterrupt:
            with suppress(ClosedError):
                answer(self.put(Pause()))
            raise

    def set(self, values: Mapping[str, Any], who: str = "api", why: str = "") -> list[Ticket]:
        """Put one command for each control, all or none.

        Raises:
            ControlNameError, ControlValueError: nothing was asked for.
        """
        checked = self._validator.controls(values)
        return [self.put(SetControl(name, value, who, why)) for name, value in checked.items()]


def answer(ticket: Ticket) -> Any:
    """Wait for the answer of a command, and return or raise it."""
    while not ticket.answer.done():
        concurrent.futures.wait([ticket.answer], SLICE)
    return ticket.answer.result()
