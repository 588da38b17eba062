"""State of samplers, streams and loaders: before a pass, and back from a file."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept import (
    AsIs,
    Done,
    Kept,
    KeptContainer,
    KeptObject,
    KeptTuple,
)
from nbdebug.model.state.values.plain import PlainReader, PlainWriter
from nbdebug.model.state.values.record_file import records_to_plain
from nbdebug.model.state.values.surroundings_copy import restore_records
from nbdebug.training.data.passes.data_copier import DataCopier
from nbdebug.training.data.passes.function_records import FunctionRecords, moved_records
from nbdebug.training.data.passes.moved import moved


class HeldState:
    """Copies of what an object of data holds, and of what its functions draw from and count with.

    Attributes:
        moving: an iterator or file that is held, whose position cannot be copied; "" if none.
        large: fingerprints of large values, which are not copied.
    """

    def __init__(
        self, data: Any, held: Kept, functions: FunctionRecords, copier: DataCopier
    ) -> None:
        self._data, self._held, self._functions = data, held, functions
        generators = functions.generators.items()
        self._reached = {place: (one, copier.keep(one, place)) for place, one in generators}
        self._records = functions.copies(copier)
        self.moving, self.large = copier.moving, copier.large

    @classmethod
    def capture(cls, data: Any) -> HeldState:
        """Copy the state as it is now."""
        copier = DataCopier()
        held = copier.keep(data)
        functions = FunctionRecords(copier.kinds, [*_inside(data), *copier.functions])
        return cls(data, held, functions, copier)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeldState) and bitwise_equal(self._bits(), other._bits())

    __hash__ = object.__hash__

    def _bits(self) -> Any:
        writer = self._comparing()
        reached = {place: writer.plain(kept) for place, (_, kept) in self._reached.items()}
        records = {one.place: writer.plain(one.kept) for one in self._records if one.place}
        return writer.plain(self._held), reached, records

    def _comparing(self) -> PlainWriter:
        return PlainWriter(identities=True)

    def texts(self, without: Collection[int] = ()) -> set[str | bytes]:
        """Texts that are held, anywhere inside but in values with some ids."""
        return set(texts_in(self._held, without))

    def restore(self) -> Done:
        """Write the copies back into the objects; return these by the ids of the copies."""
        done: Done = {}
        self._held.restored(self._data, done)
        for value, kept in self._reached.values():
            kept.restored(value, done)
        restore_records(self._records, done)
        return done

    def plain(self, others: Sequence[HeldState]) -> dict[str, Any]:
        """The copies as plain data, without what is the same in other states of the data.

        What never changes is a setting of the user, who may change it before a resume.
        """
        writer = PlainWriter()
        held = writer.plain(moved(self._held, [other._held for other in others]))
        reached = {}
        for place, (_, kept) in self._reached.items():
            there = [other._reached.get(place, (None, None))[1] for other in others]
            reached[place] = writer.plain(moved(kept, there))
        counted = moved_records(self._records, [other._records for other in others])
        return {"held": held, "reached": reached, "counted": records_to_plain(counted, writer)}

    def write(self, plain: Mapping[str, Any]) -> None:
        """Write the plain data of a file into the objects that were captured here.

        Raises:
            CheckpointError: they hold something else; part of it may be written.
        """
        reader = PlainReader(torch.device("cpu"))
        held = reader.kept(plain["held"])
        reached = {place: reader.kept(value) for place, value in plain["reached"].items()}
        new = set(texts_in(held)) - self.texts()
        if new:
            # A file decides neither what is read nor from where.
            raise CheckpointError(f"the text {min(map(repr, new)):.80} is not in the data")
        if isinstance(held, KeptObject) != isinstance(self._held, KeptObject):
            raise CheckpointError(f"it was no {type(self._data).__name__}")
        done: Done = {}
        held.restored(self._data, done)
        for place, kept in reached.items():
            if place in self._reached:
                kept.restored(self._reached[place][0], done)
        self._functions.write(plain.get("counted", {}), self._records, reader, done)


def _inside(data: Any) -> Iterator[tuple[str, Any]]:
    """Local and global values that a generator, which has no attributes, draws from."""
    frame = data.gi_frame if isinstance(data, types.GeneratorType) else None
    if frame is not None:
        yield from frame.f_locals.items()
        names = frame.f_code.co_names
        yield from ((name, frame.f_globals[name]) for name in names if name in frame.f_globals)


def texts_in(kept: Any, without: Collection[int] = ()) -> Iterator[str | bytes]:
    """Texts that a copy holds, anywhere inside but in values with some ids."""
    waiting, seen = [kept], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str | bytes):
            yield one
        elif isinstance(one, AsIs) and id(one.value) in without:
            continue
        elif isinstance(one, AsIs):
            waiting += one.value if isinstance(one.value, tuple | list) else [one.value]
        elif isinstance(one, Kept) and id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, KeptContainer):
                waiting += [*one.values, *one.attributes.values()]
                waiting += one.keys if issubclass(one.kind, set) else []
            elif isinstance(one, KeptObject):
                waiting += one.parts.values()
            elif isinstance(one, KeptTuple):
                waiting += one.parts
