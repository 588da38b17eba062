"""Facts of several ranks that train together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and largest value of a number over the ranks, and the rank of the largest."""

    name: str
    low: float
    median: float
    high: float
    rank: int


@dataclass(frozen=True, slots=True)
class RankSpread:
    """Numbers of all ranks at the same time.

    Attributes:
        size: number of ranks; spreads: of the loss, of times in ms and of memory in MB.
    """

    size: int
    spreads: tuple[Spread, ...] = ()

    def of(self, name: str) -> Spread | None:
        """Spread of a number, None where no rank has it."""
        return next((one for one in self.spreads if one.name == name), None)


@dataclass(frozen=True, slots=True)
class RanksApart:
    """The weights of the ranks differ, since a command at this step at the latest.

    Attributes:
        command: behind which they were compared.
    """

    step: int
    command: str
