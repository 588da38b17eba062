"""Queue of commands for the training thread."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.running import SetControl
from nbdebug.errors import ClosedError

PauseAll = Literal["alone", "asked", "asked before"]


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A command in the queue, and the future of its answer.

    Attributes:
        halts: whether the command ends a long one that runs or waits.
        answer: the result of the command, or the exception that it raised.
    """

    command: Command
    halts: bool = False
    answer: Future[Any] = field(default_factory=Future)


class CommandSink(Protocol):
    """Door for commands: the queue of this process, or that of another one."""

    def new_call(self) -> int:
        """Number for the commands of one call, such as a `set` of several controls."""

    def put(self, command: Command, *, inside: bool = False) -> Ticket:
        """Add a command; its ticket holds the future of the answer."""

    def pending(self) -> dict[str, Any]:
        """Controls with a waiting command, each with its latest value."""


class CommandQueue:
    """First-in first-out queue of commands; any thread may put, one thread drains."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._calls = itertools.count(1)

    def new_call(self) -> int:
        """Number for the commands of one call, such as a `set` of several controls."""
        return next(self._calls)

    def put(self, command: Command, *, inside: bool = False) -> Ticket:
        """Add a command; its ticket holds the future of the answer.

        Args:
            inside: the command comes from code that training runs; it ends no long command,
                since a rerun step gives it again.
        """
        ticket = Ticket(command, command.halting and not inside)
        with self._ready:
            if self._closed:
                ticket.answer.set_exception(closed_error())
                return ticket
            self._tickets.append(ticket)
            self._ready.notify_all()
        return ticket

    def drain(self, wait: bool = False) -> tuple[Ticket, ...]:
        """Take all commands; with `wait`, sleep until there is at least one."""
        # First without the lock: this runs before every step.
        if not wait and not self._tickets:
            return ()
        with self._ready:
            while wait and not self._tickets:
                self._ready.wait()
            tickets = tuple(self._tickets)
            self._tickets.clear()
            return tickets

    def enter_step(self) -> bool:
        """Enter a step; False if a command is to be drained first."""
        return True

    def pause_all(self) -> PauseAll:
        """Ask all ranks to pause; "alone" where this is the only one, which pauses by itself."""
        return "alone"

    def close(self) -> None:
        """Refuse all waiting and later commands: no thread drains the queue any more."""
        with self._ready:
            self._closed = True
            left = tuple(self._tickets)
            self._tickets.clear()
        for ticket in left:
            ticket.answer.set_exception(closed_error())

    @property
    def waiting(self) -> bool:
        """True if there is a command that was not taken."""
        return bool(self._tickets)

    def halting(self) -> bool:
        """Tell if a waiting command ends the running one."""
        with self._ready:
            return any(ticket.halts for ticket in self._tickets)

    def pending(self) -> dict[str, Any]:
        """Controls with a waiting command, each with its latest value."""
        with self._ready:
            commands = [ticket.command for ticket in self._tickets]
        return {c.control: c.value for c in commands if isinstance(c, SetControl)}


def closed_error() -> ClosedError:
    """Error of a command that nobody runs any more."""
    return ClosedError("This Debugger was closed before the command could begin.")
