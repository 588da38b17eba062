"""The door into the training thread: the queue that carries commands."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from nbdebug.core.commands.commands import HALTING, Command, SetControl


@dataclass(frozen=True, slots=True)
class Ticket:
    """A command with its place in the order of all commands, counted from 1."""

    number: int
    command: Command


class CommandQueue:
    """Commands in the order they were put; any thread may put, one thread drains."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._numbers = itertools.count(1)
        self._ready = threading.Condition()

    def put(self, command: Command) -> int:
        """Add a command and return its number (see `Status.handled`)."""
        with self._ready:
            number = next(self._numbers)
            self._tickets.append(Ticket(number, command))
            self._ready.notify_all()
            return number

    def drain(self, wait: bool = False) -> tuple[Ticket, ...]:
        """Take all commands; with `wait`, sleep until there is at least one."""
        # A lock-free look first: this runs before every step.
        if not wait and not self._tickets:
            return ()
        with self._ready:
            while wait and not self._tickets:
                self._ready.wait()
            tickets = tuple(self._tickets)
            self._tickets.clear()
            return tickets

    def halting(self) -> bool:
        """Whether a command waits that ends what is under way."""
        with self._ready:
            return any(isinstance(t.command, HALTING) for t in self._tickets)

    def pending(self) -> dict[str, Any]:
        """Controls whose command waits, each with the value that was put last."""
        with self._ready:
            commands = [ticket.command for ticket in self._tickets]
        return {c.control: c.value for c in commands if isinstance(c, SetControl)}
