"""Objects of the standard library that pass the batches of a loop on, such as `enumerate`."""

from __future__ import annotations

import gc
import itertools
import types
import weakref
from collections.abc import Iterator
from typing import Any

WRAPPERS = (
    enumerate, zip, map, filter, itertools.islice, itertools.chain, itertools.takewhile,
    itertools.starmap, itertools.zip_longest, itertools.cycle, itertools.accumulate,
)  # fmt: skip
# Objects that were made a moment ago, and all others, which are many.
YOUNG, OLD = (0, 1), (2,)
# By id, since a metaclass of the user's may have no hash.
KINDS = frozenset(map(id, WRAPPERS))
NAMES = frozenset(kind.__name__ for kind in WRAPPERS)


class Wrappers:
    """Finds the objects that pass the batches of one loop on."""

    def __init__(self) -> None:
        self._known: list[weakref.ref[types.GeneratorType[Any, Any, Any]]] = []
        # Wrappers of generators alone, and none of another wrapper.
        self._direct = False

    def around(self, frames: set[int], names: frozenset[str]) -> list[Any]:
        """Objects that take values from generators which are at work in some frames.

        They have no frame of their own, and no variable needs to hold them: the garbage collector
        knows them. Once found, they are asked for by the generators that they take from, which is
        faster than to look at all objects.

        Args:
            frames: ids of the frames of the generators.
            names: of globals that the code of the loop uses, which tell if it makes any.
        """
        alive = [one for ref in self._known if (one := ref()) is not None]
        taken = [one for one in alive if id(one.gi_frame) in frames]
        found = _holders(taken, self._direct) if taken else []
        found = found or _among(YOUNG, frames)
        if not found and names & NAMES:
            found = _among(OLD, frames)
        parts = [part for one in found for part in _parts(one)]
        self._known = [weakref.ref(one) for one in parts if isinstance(one, types.GeneratorType)]
        self._direct = not {id(one) for one in found} & {id(part) for part in parts}
        return found


def _holders(parts: list[Any], direct: bool) -> list[Any]:
    """Wrappers that take values from some objects, or from one another unless `direct`."""
    found: list[Any] = []
    while parts:
        holders = gc.get_referrers(*parts)
        # zip holds its iterators in a tuple.
        tuples = [one for one in holders if type(one) is tuple]
        holders += gc.get_referrers(*tuples) if tuples else []
        known = {id(one) for one in found}
        parts = [one for one in holders if id(type(one)) in KINDS and id(one) not in known]
        found += parts
        if direct:
            break
    return found


def _among(generations: tuple[int, ...], frames: set[int]) -> list[Any]:
    waiting = [one for at in generations for one in _of_kinds(gc.get_objects(at))]
    found: list[Any] = []
    while True:
        # One may take its values from another.
        known = {id(one) for one in found}
        more = [one for one in waiting if id(one) not in known and _takes(one, frames, known)]
        if not more:
            return found
        found += more


def _of_kinds(objects: list[Any]) -> list[Any]:
    """Those of some types, without a step of Python for each of a million objects."""
    return list(itertools.compress(objects, map(KINDS.__contains__, map(id, map(type, objects)))))


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
