"""Copies of what a dataset, its transforms and its collate_fn hold, without the data."""

from __future__ import annotations

import array
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.values.copier import ValueCopier, attributes_of
from nbdebug.model.state.values.kept import AsIs, Kept, KeptContainer, KeptObject
from nbdebug.model.state.values.kept_data import KeptFrame, is_frame
from nbdebug.model.state.values.kept_records import KeptBuffer, KeptNumbers
from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.model.state.values.records import BUFFER_TYPES
from nbdebug.training.data.passes.data_copier import DataCopier
from nbdebug.training.data.passes.written.kinds import (
    CONTAINER_TYPES,
    DATA_TYPES,
    NAMESPACES,
    is_data,
    is_writable,
    may_be_part,
)

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
        lengths: of all lists by place; wholes: copies of large parts by place.
    """

    def __init__(self, written: Collection[str] = ()) -> None:
        super().__init__()
        self.generators: list[Any] = []
        self.parts: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self.wholes: dict[str, Kept] = {}
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
                    self.wholes[place] = self.whole(value, place)
                    return self.wholes[place]
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
