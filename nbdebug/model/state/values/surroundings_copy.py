"""Copies of what the user's functions reach, and how they are written back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept import MISSING, AsIs, Done, Kept
from nbdebug.model.state.values.kept_records import KeptHooks, KeptNames
from nbdebug.model.state.values.plain import PlainWriter
from nbdebug.model.state.values.reached import Bind, Reached

# Of what is there without any record.
NAMED = (KeptNames, KeptHooks)


class Record(NamedTuple):
    """Copy of a number, container, iterator or object of the user's.

    Attributes:
        bind: binds a value to its place; None where only the object itself is written to.
        current: the value that is there now, for a copy from a file.
    """

    place: str
    kept: Kept
    bind: Bind | None
    current: Any = MISSING


class SurroundingsCopy:
    """Copies of what the user's functions reach.

    Attributes:
        places: what was reached, and its copy, by place.
        tensors: all copied tensors.
        rebound: places of variables that a loop of the user's binds anew between two passes.
        loose: those that nobody else can bind: a loop that runs on binds them with its next batch.
        records: numbers, containers, iterators and objects of the user's.
        left: places of records that a file has and that do not fit; dropped: places of networks,
            optimizers, generators and tensors that a file has and that nothing reaches now.
        large: places of large tensors and arrays that code writes into, or may write into.
        moving: place and type of iterators that move on, and cannot be put back.
        caches: functions with a cache, which cannot be put back, and how often each was filled.
        filled: gets the names of those that were filled since.
        behind: is called when the records were written back.
    """

    def __init__(
        self, kept: Mapping[str, tuple[Reached, Kept]], tensors: list[torch.Tensor],
        rebinds: bool = False,
    ) -> None:  # fmt: skip
        self.places, self.tensors = dict(kept), tensors
        self.records, self.moving = list[Record](), dict[str, str]()
        self.left, self.dropped, self.large = list[str](), list[str](), set[str]()
        self.caches, self.filled = list[tuple[Any, int]](), set[str]()
        self.behind: Callable[[], None] = lambda: None
        loose = torch.Tensor, tuple
        self.rebound = {
            place
            for place, (reached, _) in self.places.items()
            if rebinds and isinstance(reached.value, loose)
        }

        self.loose = {place for place in self.rebound if self.places[place][0].bind is None}

    @property
    def counts(self) -> bool:
        """True if there are records that a step may have moved."""
        kept = (record.kept for record in self.records)
        return any(type(one) is not AsIs and not isinstance(one, NAMED) for one in kept)

    def restore(self) -> None:
        """Write the copies back."""
        done: dict[int, Any] = {}
        for reached, kept in self.places.values():
            value = kept.restored(reached.value, done)
            if reached.bind is not None:
                reached.bind(value)
        self.restore_records(done)

    def restore_records(self, done: dict[int, Any] | None = None) -> None:
        """Write only the copies of records back."""
        restore_records(self.records, {} if done is None else done)
        for cached, misses in self.caches:
            if cached.cache_info().misses > misses:
                self.filled.add(cached.__wrapped__.__qualname__)
        self.behind()

    def equals(self, other: SurroundingsCopy, variables: bool = True, loose: bool = True) -> bool:
        """True if both hold the same values to the bit, in the places that both have.

        The user's code may meanwhile have added a tensor to a list of its own.

        Args:
            variables: False leaves out the variables that a loop binds anew between two passes;
                loose: False only those of them that nobody else can bind.
        """
        both = self.places.keys() & other.places.keys()
        if not loose:
            both -= self.loose
        if not variables:
            both -= self.rebound
        return all(bitwise_equal(_alone(self, place), _alone(other, place)) for place in both)


def restore_records(records: Iterable[Record], done: Done) -> None:
    """Write copies of records back; `done` holds what is written by others too."""
    for record in records:
        value = record.kept.restored(record.current, done)
        if record.bind is not None and value is not MISSING:
            record.bind(value)


def _alone(copy: SurroundingsCopy, place: str) -> Any:
    """The plain form of one place, which does not depend on the others."""
    return PlainWriter(identities=True).plain(copy.places[place][1])


NO_SURROUNDINGS = SurroundingsCopy({}, [])
