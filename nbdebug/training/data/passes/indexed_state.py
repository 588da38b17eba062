"""State of data that is read by index: what a dataset, its transforms and its collate_fn hold."""

from __future__ import annotations

import array
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset, default_collate

from nbdebug.errors import CheckpointError, DataError
from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.values.copier import ValueCopier, attributes_of
from nbdebug.model.state.values.kept import AsIs, Done, Kept, KeptContainer, KeptObject
from nbdebug.model.state.values.kept_data import KeptFrame, is_frame
from nbdebug.model.state.values.kept_records import KeptBuffer, KeptNumbers
from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.model.state.values.plain import PlainWriter
from nbdebug.training.data.passes.data_copier import DataCopier
from nbdebug.training.data.passes.function_records import FunctionRecords
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.moved import moved
from nbdebug.training.data.passes.system_draws import is_seeded_by_system
from nbdebug.training.data.passes.written.kinds import (
    BUFFER_TYPES,
    CONTAINER_TYPES,
    DATA_TYPES,
    NAMESPACES,
    is_data,
    is_writable,
    may_be_part,
)
from nbdebug.training.data.passes.written.large_parts import LargeParts
from nbdebug.training.data.passes.written.source_writes import told_by_source

MAX_STATE_VALUES = 1000


class IndexedCopier(DataCopier):
    """Copies generators, counters and helper objects of a dataset; the rest is data.

    Arrays over 1 kB, long lists and objects of libraries that are not called, such as tables, are
    data and are left where they are.

    Args:
        written: places of those that are copied all the same.

    Attributes:
        generators: all random generators that were met.
        parts: large arrays, tensors, tables and containers that reading may write into, by place.
        lengths: of all lists by place.
    """

    def __init__(self, written: Collection[str] = ()) -> None:
        super().__init__()
        self.generators: list[Any] = []
        self.parts: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self._written = written
        # Inside of a value that is copied whole, and the number of values copied there.
        self._inside, self._whole = False, 0

    def objects(self) -> dict[int, KeptObject]:
        """Copies of objects with attributes, by the id of the object."""
        return {place: kept for place, kept in self._known.items() if isinstance(kept, KeptObject)}

    def containers(self) -> set[int]:
        """Ids of the lists, dicts and other containers that were copied."""
        return {at for at, kept in self._known.items() if isinstance(kept, KeptContainer)}

    def _fresh(self, value: Any, place: str) -> Kept:
        if isinstance(value, GENERATOR_TYPES):
            self.generators.append(value)
            return super()._fresh(value, place)
        if self._inside:
            return self._part(value, place)
        if isinstance(value, list):
            self.lengths[place] = len(value)
        if len(self._known) - self._whole >= MAX_STATE_VALUES or is_data(value):
            if may_be_part(value):
                self.parts[place] = value
                if place in self._written:
                    return self.whole(value, place)
            if isinstance(value, list):
                self.large[place] = len(value)
            return AsIs(value)
        if isinstance(value, nn.Module):
            return self._module(value, place)
        return self._of_standard(value, place) or super()._fresh(value, place)

    def _of_standard(self, value: Any, place: str) -> Kept | None:
        """Copy an object of the standard library that holds what the user puts into it."""
        if isinstance(value, array.array):
            return self._remember(value, KeptNumbers(value))
        if isinstance(value, BUFFER_TYPES):
            return self._remember(value, KeptBuffer(value))
        return self._object(value, place) if isinstance(value, NAMESPACES) else None

    def whole(self, value: Any, place: str) -> Kept:
        """Copy a large value with all its parts."""
        known, self._inside = len(self._known), True
        try:
            return self._part(value, place)
        finally:
            self._inside = False
            self._whole += len(self._known) - known

    def _part(self, value: Any, place: str) -> Kept:
        if is_frame(value):
            return self._remember(value, KeptFrame(value, self.keep))
        if kept := self._of_standard(value, place):
            return kept
        if isinstance(value, torch.Tensor) and not is_writable(value):
            return AsIs(value)
        if isinstance(value, (torch.Tensor, np.ndarray, *CONTAINER_TYPES)):
            return ValueCopier._fresh(self, value, place)
        if is_of_library(type(value)) or isinstance(value, (*DATA_TYPES, nn.Module)):
            return AsIs(value)
        return super()._fresh(value, place)

    def _data_object(self, value: Any, place: str) -> Kept:
        self.kinds.add(type(value))
        kept: KeptObject = self._remember(value, KeptObject(value))
        kept.parts = self._attributes(value, place)
        return kept

    def _module(self, value: nn.Module, place: str) -> Kept:
        """A transform that is a module; its buffers count, its parameters are left as they are."""
        self.kinds.add(type(value))
        kept: KeptObject = self._remember(value, KeptObject(value))
        for name, part in attributes_of(value):
            own = name == "_buffers" or not (name.startswith("_") or name == "training")
            kept.parts[name] = self.keep(part, f"{place}.{name}") if own else AsIs(part)
        for name, child in value.named_children():
            kept.parts[name] = self.keep(child, f"{place}.{name}")
        return kept


class IndexedHeldState(HeldState):
    """Copy of the state of data that is read by index.

    What was loaded since, such as a file that the first item opens, stays when it is restored.

    Attributes:
        parts: large parts by place, copied only where reading writes into them.
        lengths: of all lists by place.
    """

    def __init__(
        self,
        data: Any,
        functions: FunctionRecords,
        large: LargeParts,
        written: Collection[str] | None = None,
    ) -> None:
        self._large, self._copied = large, frozenset(large.written if written is None else written)
        copier = IndexedCopier(self._copied)
        super().__init__(data, copier.keep(data), functions, copier)
        self.parts, self._objects = copier.parts, copier.objects()
        self._containers = copier.containers()
        self.lengths = copier.lengths

    def restore(self) -> Done:
        now = IndexedHeldState(self._data, self._functions, self._large)
        if self._large.compare(now.parts):
            now = IndexedHeldState(self._data, self._functions, self._large)
        for place, there in now._objects.items():
            parts = self._objects[place].parts if place in self._objects else {}
            parts |= {
                name: part
                for name, part in there.parts.items()
                if type(part) is AsIs and id(part.value) not in self._containers
            }
        done = super().restore()
        uncopied = {place: self.parts[place] for place in self.parts.keys() - self._copied}
        self._large.restore_first(uncopied, done)
        return done

    def told_by_source(self) -> str:
        """Name of an attribute that reading writes into and no copy holds; "" for none."""
        copied = {id(self.parts[place]) for place in self._large.whole & self.parts.keys()}
        return told_by_source(self._objects.values(), copied)

    def without_form(self, first: IndexedHeldState) -> str:
        """Name of an attribute that has moved since and that no file can hold; "" for none."""
        for at, kept in self._objects.items():
            before = first._objects[at].parts if at in first._objects else {}
            for name, part in kept.parts.items():
                writer = PlainWriter()
                writer.plain(moved(part, [before.get(name)]))
                if writer.without_form:
                    return f"{kept.kind}.{name}"
        return ""


class IndexedState:
    """State of a dataset and its collate_fn, for positions of a sampler.

    Attributes:
        first: the state at the beginning.
    """

    def __init__(self, dataset: Any, collate: Any) -> None:
        # One list, so that copies of it are of the same object.
        plain = isinstance(dataset, list | tuple) and collate is default_collate
        self._data = [] if plain else [dataset]
        self._data += [] if collate is default_collate else [collate]
        copier = IndexedCopier()
        copier.keep(self._data)
        self._functions = FunctionRecords(copier.kinds, copier.functions)
        self._large = LargeParts(lambda part, at: IndexedCopier().whole(part, at))
        self.first = self._held()
        self._large.compare(self.first.parts)
        self._told = self.first.told_by_source()

    def _held(self, written: Collection[str] | None = None) -> IndexedHeldState:
        return IndexedHeldState(self._data, self._functions, self._large, written)

    @property
    def unkept(self) -> str:
        """Place of a part that reading writes into and that is too large; "" if none was seen."""
        return self._told or self._large.unkept

    def now(self, *, sparing: bool = False) -> HeldState:
        """Copy the state as it is now.

        Args:
            sparing: take what is known of large parts; they are compared only now and then.
        """
        held = self._held()
        new = self._large.compare(held.parts, sparing=sparing)
        return self._held() if new else held

    def has_unseeded_generator(self) -> bool:
        """Tell if the data holds or reaches a random generator that nobody gave a seed."""
        copier = IndexedCopier()
        copier.keep(self._data)
        return any(
            map(is_seeded_by_system, (*copier.generators, *self._functions.generators.values()))
        )

    def plain(self, held: HeldState) -> Any:
        """Changes of a copy since the beginning, as plain data; None without any.

        Raises:
            DataError: a text has changed, which a file may not write.
        """
        if held == self.first:
            return None
        # Lists that reading writes texts into are compared with their first copies.
        parts = {id(value) for value in self.first.parts.values()}
        if new := held.texts(parts) - self.first.texts(parts) - self._large.texts():
            raise DataError(
                f"The dataset holds the text {min(map(repr, new)):.80} since training began, which "
                "is not restored from a file: training could not go on after a restart."
            )
        lengths = self.first.lengths
        grown = [place for place, size in held.large.items() if lengths.get(place) != size]
        if grown:
            raise DataError(
                f"The list {grown[0]} of the dataset has another length since training began, and "
                "is too long to be recorded: training could not go on after a restart."
            )
        if isinstance(held, IndexedHeldState) and (name := held.without_form(self.first)):
            raise DataError(
                f"{name} of the dataset is written into while samples are read, and no file can "
                "hold it: training could not go on after a restart."
            )
        return held.plain([self.first])

    def write(self, plain: Any) -> None:
        """Write the plain data of a file.

        Raises:
            DataError: the data is not as it was; nothing was changed.
        """
        before = self._held(self._large.whole)
        try:
            if not isinstance(plain, Mapping):
                raise CheckpointError("it has no form that is known")
            before.write(plain)
        except Exception as error:
            before.restore()
            raise DataError(
                f"What the dataset holds is not as in the checkpoint: {error}. Make the "
                "data again, as at the beginning of the training."
            ) from error


def state_of_dataset(dataset: Any, collate: Any) -> IndexedState | None:
    """State of a dataset and its collate_fn; None where no code of the user's reads it."""
    if type(dataset) is TensorDataset and collate is default_collate:
        return None
    return IndexedState(dataset, collate)
