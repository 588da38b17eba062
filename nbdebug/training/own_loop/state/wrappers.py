"""Objects of the standard library that pass the batches of a loop on, such as `enumerate`."""

from __future__ import annotations

import gc
import itertools
import types
from collections.abc import Iterator
from typing import Any

WRAPPERS = (
    enumerate, zip, map, filter, itertools.islice, itertools.chain, itertools.takewhile,
    itertools.starmap, itertools.zip_longest, itertools.cycle, itertools.accumulate,
)  # fmt: skip
# Objects that were made a moment ago, and all others, which are many.
YOUNG, OLD = (0, 1), (2,)
NAMES = frozenset(kind.__name__ for kind in WRAPPERS)


def wrappers(frames: set[int], names: frozenset[str]) -> list[Any]:
    """Objects that take values from generators which are at work in some frames.

    They have no frame of their own, and no variable needs to hold them: the garbage collector
    knows them.

    Args:
        frames: ids of the frames of the generators.
        names: of globals that the code of the loop uses, which tell if it makes any.
    """
    found = _among(YOUNG, frames)
    if not found and names & NAMES:
        found = _among(OLD, frames)
    return found


def _among(generations: tuple[int, ...], frames: set[int]) -> list[Any]:
    # A list of all objects would hold itself.
    objects = (one for at in generations for one in gc.get_objects(at))
    waiting = [one for one in objects if type(one) in WRAPPERS]
    found: list[Any] = []
    while True:
        # One may take its values from another.
        known = {id(one) for one in found}
        more = [one for one in waiting if id(one) not in known and _takes(one, frames, known)]
        if not more:
            return found
        found += more


def _takes(one: Any, frames: set[int], found: set[int]) -> bool:
    return any(
        id(part) in found or (isinstance(part, types.GeneratorType) and id(part.gi_frame) in frames)
        for part in _parts(one)
    )


def _parts(one: Any) -> Iterator[Any]:
    for part in gc.get_referents(one):
        # zip holds its iterators in a tuple. That of zip_longest has empty places behind one
        # that has ended: iterating over it would crash Python.
        yield from gc.get_referents(part) if isinstance(part, tuple) else (part,)
