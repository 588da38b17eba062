"""Queue of commands that all ranks of a training apply before the same step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import CommandQueue, PauseAll, Ticket
from nbdebug.core.commands.running import Pause, Run
from nbdebug.core.results.loops.ranks import RankSpread
from nbdebug.errors import RanksError
from nbdebug.training.ranks.agreement import GONE, Agreement
from nbdebug.training.ranks.protocol import Link, Order, Outcome, Where
from nbdebug.training.ranks.spread import exchange

REFUSED = (
    "{} is not done where several ranks train together: it would run the model, or go back, on "
    "this rank alone. Run the script in one process for it."
)


class LoneQueue(CommandQueue):
    """Queue of a rank that is watched alone: nothing is changed, which the others would not see.

    Args:
        why: what is said to who gives a command.
    """

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def put(self, command: Command, *, inside: bool = False) -> Ticket:
        if _is_own(command, inside):
            return super().put(command, inside=inside)
        ticket = Ticket(command)
        ticket.answer.set_exception(RanksError(self._why))
        return ticket

    def pause_all(self) -> PauseAll:
        return "asked"


class SharedQueue(CommandQueue):
    """Queue of a rank: commands of rank 0 come out of it on all ranks before the same step.

    The same lines run on every rank: what the loop gives on rank 0 counts for all, and on the
    others it does nothing.

    Attributes:
        where: place of this rank; measured: numbers whose spread over the ranks is taken.
        tell: called with a command and its outcome; lost: with the reason why ranks are gone.
        spread: called with each new spread; alike: True if the ranks began with equal weights.
    """

    alike = False

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.where: Callable[[], Where] = lambda: Where(0, True, False)
        self.measured: Callable[[], Mapping[str, float]] = dict
        self.tell: Callable[[Command, Outcome], None] = lambda command, outcome: None
        self.lost: Callable[[str], None] = lambda why: None
        self.spread: Callable[[RankSpread], None] = lambda spread: None
        self._pause: Ticket | None = None
        self.agreement = Agreement(
            link,
            self._wake,
            lambda link: self.spread(exchange(link, self.measured())),
            lambda command, outcome: self.tell(command, outcome),
            lambda why: self.lost(why),
            self._go_on,
        )

    def put(self, command: Command, *, inside: bool = False) -> Ticket:
        if _is_own(command, inside):
            return super().put(command, inside=inside)
        ticket = Ticket(command, command.halting and not inside)
        if command.on_ranks == "none":
            ticket.answer.set_exception(RanksError(REFUSED.format(command.name)))
        elif self.link.rank:
            ticket.answer.set_result(None)
        elif self.agreement.broken:
            ticket.answer.set_exception(RanksError(GONE.format(self.agreement.broken)))
        else:
            self.agreement.give(ticket)
        return ticket

    def drain(self, wait: bool = False) -> tuple[Ticket, ...]:
        if wait:
            with self._ready:
                self._ready.wait_for(lambda: self._tickets or self.agreement.is_due(self.where()))
        own, where = super().drain(), self.where()
        begins = any(isinstance(ticket.command, Run) for ticket in own)
        # What comes from before this loop is applied before it runs, as on the other ranks.
        before = self.agreement.begin_run(where) if begins else None
        order = self.agreement.due(where)
        return (*_tickets(before), *own, *_tickets(order))

    def enter_step(self) -> bool:
        return self.agreement.enter(self.where())

    def fail_step(self) -> None:
        self.agreement.fail_step()

    def pause_all(self) -> PauseAll:
        if not (self._pause is None or self._pause.answer.done()):
            return "asked before"
        self._pause = self.put(Pause())
        return "asked"

    def close(self) -> None:
        super().close()
        self.agreement.close()

    def _go_on(self) -> None:
        """Let this rank train on without the others' commands, where it was told to pause."""
        where = self.where()
        if self.link.rank and not (where.moves or where.over):
            super().put(Run())

    def _wake(self) -> None:
        with self._ready:
            self._ready.notify_all()


def _is_own(command: Command, inside: bool) -> bool:
    """Tell if a command is of this rank alone, as that by which its loop begins to run."""
    return command.on_ranks == "own" or (inside and isinstance(command, Run))


def _tickets(order: Order | None) -> tuple[Ticket, ...]:
    return () if order is None else order.tickets
