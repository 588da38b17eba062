"""Agreement of several ranks on the step before which each applies a command."""

from __future__ import annotations

import itertools
import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.examining import CompareRanks
from nbdebug.core.commands.queue import Ticket, closed_error
from nbdebug.core.error_text import describe_error
from nbdebug.errors import ClosedError, RanksError
from nbdebug.training.ranks.protocol import NO_SAY, Link, Order, Outcome, Where, both_ways

MAX_STEPS = 2**40
SPREAD_SECONDS, CLOSE_SECONDS = 2.0, 5.0
GONE = "Rank 0 does not reach the other ranks any more ({}): nothing can be changed."


@dataclass(frozen=True)
class Asked:
    """A command that rank 0 gives, and who waits for it; nobody for one that takes another back."""

    command: Command
    ticket: Ticket | None = None


class Agreement:
    """Brings commands of rank 0 to all ranks, before the same step of each.

    The training thread asks before each step if a command is due, which is a comparison of two
    numbers. A thread of its own hears of a command: it lets its rank enter no further step, says
    to which step it has come, and takes the largest of all ranks. Ranks that wait for each other
    inside of a step still end it, so none is left in a collective. Without a command nothing is
    exchanged but the spread of some numbers, every two seconds.

    Args:
        wake: called when a command is due or the ranks are lost.
        spread: exchanges what is compared between ranks.
        tell: called with a command and its outcome; lost: with the reason why ranks are gone;
            over: when no more commands come.
    """

    def __init__(
        self,
        link: Link,
        wake: Callable[[], None],
        spread: Callable[[Link], None],
        tell: Callable[[Command, Outcome], None],
        lost: Callable[[str], None],
        over: Callable[[], None],
    ) -> None:
        self.link, self._wake, self._spread = link, wake, spread
        self._tell, self._lost, self._over = tell, lost, over
        self._changed = threading.Condition()
        # The last step that the training thread has entered, and the first that it may not.
        self._entered, self._barred = -1, math.inf
        # The number of loops that the training thread has begun, and what it is to apply: one
        # command at a time, since the ranks compare themselves behind it.
        self._run = 0
        self._order: Order | None = None
        # True if a batch is there for the next step, which is not entered since a command is due.
        self._at_step = self._failed = False
        self._spoken: Asked | None = None
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self.broken, self._ends = "", False
        self._thread = threading.Thread(target=self._speak, name="nbdebug-ranks", daemon=True)

    def start(self) -> None:
        """Begin to listen; rank 0 begins to speak."""
        self._thread.start()

    # The training thread.

    def enter(self, where: Where) -> bool:
        """Enter a step, once it is known if a command comes before; False if one is due."""
        with self._changed:
            self._changed.wait_for(lambda: where.step < self._barred)
            self._at_step = True
            if self._is_due(where):
                return False
            self._at_step, self._failed, self._entered = False, False, where.step
            return True

    def fail_step(self) -> None:
        """Say that this rank stops in the step that it has entered last."""
        with self._changed:
            self._failed = True

    def begin_run(self, where: Where) -> Order | None:
        """Begin another loop; returns the command that is due before, if there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._barred == math.inf)
            self._run, self._failed = self._run + 1, False
            return self._take(where)

    def due(self, where: Where) -> Order | None:
        """Take the command that is due."""
        with self._changed:
            return self._take(where)

    def is_due(self, where: Where) -> bool:
        """Tell if `due` would return a command."""
        with self._changed:
            return self._is_due(where)

    def _take(self, where: Where) -> Order | None:
        if not self._is_due(where):
            return None
        found, self._order, self._at_step = self._order, None, False
        return found

    def _is_due(self, where: Where) -> bool:
        if self._order is None:
            return False
        run, step = self._order.place
        if run != self._run or where.over:
            # A loop that is over makes no more steps: neither do the other ranks in theirs.
            return run <= self._run
        if not where.moves:
            # A step that failed was entered, and is not made while this rank rests.
            return step <= (self._entered + 1 if self._failed else where.step)
        # Where a loop may end before the next step, it is to end on all ranks before.
        return step <= where.step and self._at_step

    def give(self, ticket: Ticket) -> None:
        """Give a command to all ranks, on rank 0."""
        self._asked.put(Asked(ticket.command, ticket))

    def close(self) -> None:
        """Leave: what this rank has not applied is answered; it bars no step of the others."""
        with self._changed:
            self._ends = True
            self._drop()
        self.link.leave()
        self._asked.put(None)
        # An exchange that is under way when a process ends would end it by an abort.
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def _drop(self) -> None:
        order, self._order = self._order, None
        for ticket in () if order is None else order.tickets:
            ticket.answer.set_exception(closed_error())

    # The thread that speaks to the other ranks.

    def _speak(self) -> None:
        try:
            for number in itertools.count():
                asked = self._next(number)
                self._spoken = asked if isinstance(asked, Asked) else None
                command = self.link.share(asked.command if isinstance(asked, Asked) else asked)
                if isinstance(command, Command):
                    self._agree(asked if isinstance(asked, Asked) else Asked(command))
                elif command == "spread":
                    self._spread(self.link)
                else:
                    break
        except BaseException as error:
            self._break(describe_error(error))
        self._over()

    def _next(self, number: int) -> Asked | str | None:
        """Next message of rank 0: a command, "spread", or "end"; None on other ranks."""
        if self.link.rank:
            while not self.link.wait(number):
                pass
            return None
        found: Asked | str = "spread"
        with suppress(queue.Empty):
            found = self._asked.get(timeout=SPREAD_SECONDS) or "end"
        self.link.wake(number)
        return found

    def _agree(self, asked: Asked) -> None:
        """Agree on a step, wait until this rank has applied the command, and compare."""
        with self._changed:
            self._barred = self._entered + 1
            # A rank in its next loop is ahead of all that are not.
            own = NO_SAY if self._ends else self._run * MAX_STEPS + self._entered + 1
        place = divmod(self.link.largest([own])[0], MAX_STEPS)
        order = Order(place, (Ticket(asked.command), Ticket(CompareRanks())))
        with self._changed:
            self._order = order
            self._barred = math.inf
            if self._ends:
                self._drop()
            self._changed.notify_all()
        self._wake()
        outcome = self._outcome(order, asked.command)
        self._tell(asked.command, outcome)
        self._answer(asked, order, outcome)

    def _outcome(self, order: Order, command: Command) -> Outcome:
        """Compare what came of a command on all ranks."""
        digest = _result(order.tickets[1])
        why, old, says = "", None, not isinstance(digest, ClosedError)
        if says and not command.runs:
            found = _result(order.tickets[0])
            why = describe_error(found) if isinstance(found, BaseException) else _refusal(found)
            old = getattr(found, "old", None)
        rank = self.link.rank
        high, low, refused, applied = self.link.largest([
            *both_ways(digest if isinstance(digest, int) else None),
            rank if says and why else NO_SAY,
            rank if says and not why else NO_SAY,
        ])  # fmt: skip
        apart = high != NO_SAY and high != -low
        if refused == NO_SAY:
            return Outcome(apart=apart)
        why = self.link.share(why, refused)
        if applied == NO_SAY:
            return Outcome(refused, why, False, apart=apart)
        return Outcome(refused, why, True, self.link.share(old, applied), apart)

    def _answer(self, asked: Asked, order: Order, outcome: Outcome) -> None:
        """Answer who gave the command, when it is done here; take it back where a rank refused."""
        if outcome.refused_by is not None and outcome.applied and not self.link.rank:
            why = f"rank {outcome.refused_by} refused {asked.command.name}: {outcome.why}"
            if back := asked.command.taken_back(outcome.old, why):
                self._asked.put(Asked(back))
        if asked.ticket is not None:
            outer = asked.ticket.answer
            order.tickets[0].answer.add_done_callback(lambda inner: _pass_on(inner, outer))

    def _break(self, why: str) -> None:
        with self._changed:
            quiet = self._ends or self.link.left()
            self.broken, self._barred = why or "unknown", math.inf
            self._changed.notify_all()
        self._wake()
        waiting = [self._spoken]
        while not self._asked.empty():
            waiting.append(self._asked.get())
        for asked in waiting:
            if asked is not None and asked.ticket is not None and not asked.ticket.answer.done():
                asked.ticket.answer.set_exception(RanksError(GONE.format(why)))
        if not quiet:
            self._lost(why)


def _result(ticket: Ticket) -> Any:
    """Answer of a ticket, or the exception that it was answered with."""
    error = ticket.answer.exception()
    return ticket.answer.result() if error is None else error


def _refusal(found: Any) -> str:
    """Reason of a rank that refused a command, by its answer; "" where it was applied."""
    return str(found.note) if getattr(found, "status", "") == "refused" else ""


def _pass_on(inner: Future[Any], outer: Future[Any]) -> None:
    error = inner.exception()
    if error is None:
        outer.set_result(inner.result())
    else:
        outer.set_exception(error)
