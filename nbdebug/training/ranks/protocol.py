"""Words of the ranks that train together: places, orders, outcomes, and what carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nbdebug.core.commands.queue import Ticket

# Smaller than any number that a rank gives: it has no say.
NO_SAY = -(2**62)


def both_ways(number: int | None) -> tuple[int, int]:
    """A number and its opposite, whose largest values tell the range; no say for None."""
    return (NO_SAY, NO_SAY) if number is None else (number, -number)


class Link(Protocol):
    """Carrier of messages between ranks; each method but `wait` is called by all ranks at once.

    Attributes:
        rank: of this process, from 0 on; size: number of ranks.
    """

    rank: int
    size: int

    def wake(self, number: int) -> None:
        """Say on rank 0 that a message of this number comes."""

    def wait(self, number: int) -> bool:
        """Wait on another rank for the message of this number; False if none came for long."""

    def share(self, value: Any, source: int = 0) -> Any:
        """Value of one rank, on all of them."""

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """Largest of the numbers of all ranks, one by one."""

    def total(self, numbers: Sequence[int]) -> list[int]:
        """Sum of the numbers of all ranks, one by one."""

    def leave(self) -> None:
        """Say that this rank goes."""

    def left(self) -> bool:
        """Tell if a rank has said so."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a command on all ranks.

    Attributes:
        refused_by: the first rank that refused it, None if none did; why: its reason.
        applied: True if a rank applied it; old: the value of a control before, there.
        apart: True if the weights of the ranks differ now.
    """

    refused_by: int | None = None
    why: str = ""
    applied: bool = True
    old: Any = None
    apart: bool = False


class Where(NamedTuple):
    """Place of a rank.

    Attributes:
        step: the next one; over: True without a loop; moves: True while training runs.
    """

    step: int
    over: bool
    moves: bool


@dataclass
class Order:
    """A command that all ranks apply before one step.

    Attributes:
        place: loop and step before which it is applied; tickets: of the command, and of the
            comparison behind it.
    """

    place: tuple[int, int]
    tickets: tuple[Ticket, Ticket]
