"""How much of a campaign is run: a fixed draw in `make test`, all of it in `make soak`.

A test whose cases are drawn carries the marker `soak`, by which `make soak` finds it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"


def draw(short: T, long: T) -> T:
    """What `make test` takes, or what `make soak` takes."""
    return long if SOAK else short


def some(cases: Iterable[T], share: int = 3, seed: int = 0) -> list[T]:
    """One in `share` of many cases of one kind, the same ones each time; in `make soak` all."""
    found = list(cases)
    if SOAK:
        return found
    drawn = random.Random(seed).sample(range(len(found)), -(-len(found) // share))
    return [found[index] for index in sorted(drawn)]


def crossed(kinds: Iterable[T], others: Sequence[S]) -> list[tuple[T, S]]:
    """Each kind with one of the others, which take turns; in `make soak` with each of them."""
    return [
        (kind, other)
        for at, kind in enumerate(kinds)
        for other in (others if SOAK else [others[at % len(others)]])
    ]
