"""Numbers, lists and objects that functions of data count with, outside of the data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.state.reachable import reachable
from nbdebug.model.state.values.iterators import RESTORED_TYPES, KeptIterator
from nbdebug.model.state.values.kept import AsIs, Constant, Done, Kept
from nbdebug.model.state.values.kept_records import KeptEnvironment, KeptNames
from nbdebug.model.state.values.places import (
    ABSENT,
    GENERATOR_TYPES,
    held_by,
    put,
    set_in_class,
    value_at,
)
from nbdebug.model.state.values.plain import PlainReader
from nbdebug.model.state.values.reached import Reached
from nbdebug.model.state.values.record_file import records_from_plain
from nbdebug.model.state.values.records import Records
from nbdebug.model.state.values.surroundings_copy import Record, restore_records
from nbdebug.training.data.passes.data_copier import DataCopier
from nbdebug.training.data.passes.moved import moved


class FunctionRecords:
    """Random generators that functions and classes of data reach, and what they count with.

    Args:
        kinds: classes of the objects of the data.
        functions: functions of the data, such as a transform, by name.

    Attributes:
        generators: random number generators by place.
    """

    def __init__(self, kinds: Iterable[type], functions: Iterable[tuple[str, Any]]) -> None:
        records, kinds = Records(), list(kinds)
        classes = [(kind.__name__, kind) for kind in kinds]
        found = reachable([*functions, *held_by(kinds), *classes], records)
        self.generators = {
            one.place: one.value for one in found if isinstance(one.value, GENERATOR_TYPES)
        }
        # A tensor that a function writes into counts like a list.
        tensors = [one for one in found if isinstance(one.value, torch.Tensor)]
        self._records, self._spaces = [*records.found, *tensors], records.spaces
        self._names = [frozenset(_names_in(space)) for space in self._spaces]

    def copies(self, copier: DataCopier) -> list[Record]:
        """Copies of the records as they are now."""
        moving = copier.moving
        found = [
            Record(one.place, _copied(copier, one.place, value_at(one.bind, one.value)), one.bind)
            for one in (*self._records, *self._later())
        ]
        # An iterator beside the data is none that the data is read from.
        copier.moving = moving
        return [*found, *(Record("", KeptNames(space), None) for space in self._spaces)]

    def _later(self) -> Iterator[Reached]:
        """Attributes that functions and classes did not have at the beginning."""
        for space, names in zip(self._spaces, self._names, strict=True):
            for name in _names_in(space).keys() - names:
                bind = partial(set_in_class if isinstance(space, type) else put, space, name)
                yield Reached(name, _names_in(space)[name], bind)

    def write(self, plain: Any, copies: Sequence[Record], reader: PlainReader, done: Done) -> None:
        """Write what a file holds, as `records_to_plain` gave it.

        Args:
            copies: those of now.

        Raises:
            CheckpointError: the functions count with something else now.
        """
        there = [replace(one, value=value_at(one.bind, one.value)) for one in self._records]
        now = zip(there, (one.kept for one in copies), strict=False)
        records, left = records_from_plain(plain, reader, (), now)
        if left:
            raise CheckpointError(f"{left[0]}, which its functions count with, is not as it was")
        restore_records(records, done)


def moved_records(
    records: Iterable[Record], others: Iterable[Iterable[Record]]
) -> Iterator[Record]:
    """Records that differ from other copies of them."""
    there = [{one.place: one.kept for one in other} for other in others]
    for one in records:
        if one.place and type(moved(one.kept, [o.get(one.place) for o in there])) is not AsIs:
            yield one


def _names_in(space: Any) -> Mapping[str, Any]:
    """Attributes of a function, as a dict, or of a class."""
    if isinstance(space, type):
        return vars(space)
    return space if isinstance(space, dict) else {}


def _copied(copier: DataCopier, place: str, value: Any) -> Kept:
    if value is ABSENT:
        return Constant(value)
    if value is os.environ:
        return KeptEnvironment()
    if isinstance(value, RESTORED_TYPES):
        return KeptIterator(value, copier.keep)
    return copier.keep(value, place)
