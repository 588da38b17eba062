"""Command that several ranks compare themselves by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbdebug.core.commands.base import Command, FromAfar, OnRanks


@dataclass(frozen=True, slots=True)
class CompareRanks(Command):
    """Compute a number from the weights, which is the same where these are."""

    name: ClassVar[str] = "compare_ranks"
    from_afar: ClassVar[FromAfar] = "never"
    on_ranks: ClassVar[OnRanks] = "own"
