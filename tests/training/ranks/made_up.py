"""Made-up ranks: threads that speak the protocol of ranks, and train nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.commands.running import Close, Pause, Run, SetControl
from nbdebug.training.ranks.protocol import Link, Where
from nbdebug.training.ranks.shared_queue import SharedQueue


class Exchange:
    """What carries the messages of made-up ranks, and counts them.

    Attributes:
        messages: number of collective exchanges; numbers: exchanged by each rank in all of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._barrier = threading.Barrier(size)
        self._given: list[Any] = [None] * size
        self._woken = threading.Condition()
        self._number = -1
        self.gone = 0
        self.messages = self.numbers = 0

    def wake(self, number: int) -> None:
        with self._woken:
            self._number = number
            self._woken.notify_all()

    def wait(self, number: int) -> bool:
        with self._woken:
            return self._woken.wait_for(lambda: self._number >= number, 0.5)

    def all_of(self, rank: int, value: Any) -> list[Any]:
        self._given[rank] = value
        self._barrier.wait(20)
        found = list(self._given)
        self._barrier.wait(20)
        if rank == 0:
            self.messages += 1
            self.numbers += len(value) if isinstance(value, list) else 1
        return found

    def fail(self) -> None:
        """Break the connections."""
        self._barrier.abort()


class MadeUpLink(Link):
    def __init__(self, exchange: Exchange, rank: int) -> None:
        self._exchange, self.rank, self.size = exchange, rank, exchange.size

    def wake(self, number: int) -> None:
        self._exchange.wake(number)

    def wait(self, number: int) -> bool:
        return self._exchange.wait(number)

    def share(self, value: Any, source: int = 0) -> Any:
        return self._exchange.all_of(self.rank, value)[source]

    def largest(self, numbers: Sequence[int]) -> list[int]:
        return [max(row) for row in self._rows(numbers)]

    def total(self, numbers: Sequence[int]) -> list[int]:
        return [sum(row) for row in self._rows(numbers)]

    def _rows(self, numbers: Sequence[int]) -> list[tuple[int, ...]]:
        return list(zip(*self._exchange.all_of(self.rank, list(numbers)), strict=True))

    def leave(self) -> None:
        self._exchange.gone += 1

    def left(self) -> bool:
        return self._exchange.gone > 0


class MadeUpRank:
    """A rank whose training thread takes commands before each step, as the worker does.

    A step ends when all ranks have come to it, as a gradient that is averaged.

    Attributes:
        applied: (step, name of the control, value), and ("pause"/"run", ...) in order.
        refuses: values that this rank refuses.
    """

    def __init__(
        self, exchange: Exchange, rank: int, meeting: threading.Barrier, steps: int,
        seed: int = 0, slow: float = 0.0005, digest: int = 7,
        loops: int = 1,
    ) -> None:  # fmt: skip
        self.queue = SharedQueue(MadeUpLink(exchange, rank))
        self.rank, self._meeting, self._steps = rank, meeting, steps
        self._random, self._slow, self.digest = random.Random(seed * 1000 + rank), slow, digest
        self._shared, self._loops = random.Random(seed), loops
        self._waiting: list[Ticket] = []
        self._own: list[Any] = []
        self.step = 0
        self.over, self.moves, self.closed, self.broken = True, False, False, False
        self.applied: list[tuple[int, str, Any]] = []
        self.refuses: set[Any] = set()
        self.told: list[Any] = []
        self.lost: list[str] = []
        self.values: dict[str, Any] = {}
        self.queue.where = lambda: Where(self.step, self.over, self.moves)
        self.queue.tell = lambda command, outcome: self.told.append((command, outcome))
        self.queue.lost = self.lost.append
        self.queue.measured = lambda: {"loss": float(rank), "own_ms": 1.0 + rank}
        self.spreads: list[Any] = []
        self.queue.spread = self.spreads.append
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.queue.agreement.start()
        self.thread.start()

    def _run(self) -> None:
        for begin in range(0, self._steps, self._steps // self._loops):
            time.sleep(self._random.random() * 30 * self._slow)
            self.over = False
            self._own.append(self.queue.put(Run(), inside=True).answer)
            self._train(begin + self._steps // self._loops)
            self._rest()
            if self.broken:
                break
        while not self.closed:
            self._take(self.queue.drain())
            # A run without a loop ends at once.
            self.moves = False
            time.sleep(0.001)
        self._meeting.abort()
        self.queue.close()

    def _take(self, tickets: Sequence[Ticket]) -> None:
        self._waiting += tickets
        if self.over or self._random.random() < 0.8:  # A loop that is apart handles nothing yet.
            for ticket in self._waiting:
                self._handle(ticket)
            self._waiting.clear()

    def _train(self, end: int) -> None:
        """A loop, which may take a batch and break before the update of its last step."""
        breaks = self._shared.random() < 0.5
        while not (self.closed or self.broken):
            self._take(self.queue.drain(wait=not self.moves and not self._waiting))
            if not self.moves or self._waiting:
                continue
            if self.step == end and not breaks:
                break
            if not self.queue.enter_step():
                continue
            time.sleep(self._random.random() * self._slow)
            if self.step == end:
                break
            try:
                self._meeting.wait(20)
            except threading.BrokenBarrierError:  # Another rank was closed.
                self.broken = True
            self.step += 1

    def _rest(self) -> None:
        """Time between two loops, in which commands are taken too."""
        self.over, self.moves = True, False
        end = time.monotonic() + self._random.random() * 30 * self._slow
        while time.monotonic() < end and not self.closed:
            self._take(self.queue.drain())
            self.moves = False
            time.sleep(0.0005)

    def _handle(self, ticket: Ticket) -> None:
        command: Command = ticket.command
        found: Any = None
        if isinstance(command, SetControl):
            if command.value in self.refuses:
                ticket.answer.set_exception(ValueError(f"{command.value} is too large"))
                return
            found = Change(self.values.get(command.control))
            self.values[command.control] = command.value
            self.applied.append((self.step, command.control, command.value))
        elif isinstance(command, Pause):
            self.moves = False
            self.applied.append((self.step, "pause", None))
        elif isinstance(command, Run):
            self.moves = True
            if ticket.answer not in self._own:
                self.applied.append((self.step, "run", None))
        elif isinstance(command, Close):
            self.closed = True
        else:
            found = self.digest
        ticket.answer.set_result(found)


class Change:
    """What a control's change tells."""

    status, note = "applied", ""

    def __init__(self, old: Any) -> None:
        self.old = old


def made_up(
    size: int, steps: int, seed: int = 0, **options: Any
) -> tuple[Exchange, list[MadeUpRank]]:
    """Ranks that train together."""
    exchange, meeting = Exchange(size), threading.Barrier(size)
    return exchange, [
        MadeUpRank(exchange, rank, meeting, steps, seed, **options) for rank in range(size)
    ]
