"""State of data that is read by index: what a dataset, its transforms and its collate_fn hold."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset, default_collate

from nbdebug.errors import CheckpointError, DataError
from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.copier import attributes_of
from nbdebug.model.state.values.kept import AsIs, Kept, KeptObject
from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.training.data.passes.data_copier import DataCopier
from nbdebug.training.data.passes.function_records import FunctionRecords
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.system_draws import is_seeded_by_system

MAX_STATE_BYTES, MAX_STATE_NUMBERS, MAX_STATE_PARTS, MAX_STATE_VALUES = 1024, 1024, 64, 1000
DATA_TYPES = (Dataset, DataLoader, Sampler)
CONTAINER_TYPES = (list, tuple, dict, set, deque)


class IndexedCopier(DataCopier):
    """Copies generators, counters and helper objects of a dataset; the rest is data.

    Arrays over 1 kB, long lists and objects of libraries that are not called, such as tables, are
    data and are left where they are.

    Attributes:
        generators: all random generators that were met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generators: list[Any] = []

    def objects(self) -> dict[int, KeptObject]:
        """Copies of objects with attributes, by the id of the object."""
        return {place: kept for place, kept in self._known.items() if isinstance(kept, KeptObject)}

    def _fresh(self, value: Any, place: str) -> Kept:
        if isinstance(value, GENERATOR_TYPES):
            self.generators.append(value)
            return super()._fresh(value, place)
        if len(self._known) >= MAX_STATE_VALUES or _is_data(value):
            if isinstance(value, list):
                self.large[place] = len(value)
            return AsIs(value)
        if isinstance(value, nn.Module):
            return self._module(value, place)
        return super()._fresh(value, place)

    def _data_object(self, value: Any, place: str) -> Kept:
        self.kinds.add(type(value))
        kept: KeptObject = self._remember(value, KeptObject(value))
        kept.parts = self._attributes(value, place)
        return kept

    def _module(self, value: nn.Module, place: str) -> Kept:
        """A transform that is a module; what torch keeps in it is left as it is."""
        self.kinds.add(type(value))
        kept: KeptObject = self._remember(value, KeptObject(value))
        for name, part in attributes_of(value):
            own = not name.startswith("_") and name != "training"
            kept.parts[name] = self.keep(part, f"{place}.{name}") if own else AsIs(part)
        for name, child in value.named_children():
            kept.parts[name] = self.keep(child, f"{place}.{name}")
        return kept


class IndexedHeldState(HeldState):
    """Copy of the state of data that is read by index.

    What was loaded since, such as a file that the first item opens, stays when it is restored.
    """

    def __init__(
        self, data: Any, held: Kept, functions: FunctionRecords, copier: IndexedCopier
    ) -> None:
        super().__init__(data, held, functions, copier)
        self._objects = copier.objects()

    def restore(self) -> None:
        copier = IndexedCopier()
        copier.keep(self._data)
        for place, now in copier.objects().items():
            parts = self._objects[place].parts if place in self._objects else {}
            parts |= {name: part for name, part in now.parts.items() if type(part) is AsIs}
        super().restore()


class IndexedState:
    """State of a dataset and its collate_fn, for positions of a sampler.

    Attributes:
        first: the state at the beginning.
    """

    def __init__(self, dataset: Any, collate: Any) -> None:
        # One list, so that copies of it are of the same object.
        self._data = [] if isinstance(dataset, list | tuple) else [dataset]
        self._data += [] if collate is default_collate else [collate]
        copier = IndexedCopier()
        copier.keep(self._data)
        self._functions = FunctionRecords(copier.kinds, copier.functions)
        self.first = self.now()

    def now(self) -> HeldState:
        """Copy the state as it is now."""
        copier = IndexedCopier()
        held = copier.keep(self._data)
        return IndexedHeldState(self._data, held, self._functions, copier)

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
        if new := held.texts() - self.first.texts():
            raise DataError(
                f"The dataset holds the text {min(map(repr, new)):.80} since training began, which "
                "is not restored from a file: training could not go on after a restart."
            )
        grown = [place for place, size in held.large.items() if self.first.large.get(place) != size]
        if grown:
            raise DataError(
                f"The list {grown[0]} of the dataset has another length since training began, and "
                "is too long to be recorded: training could not go on after a restart."
            )
        return held.plain([self.first])

    def write(self, plain: Any) -> None:
        """Write the plain data of a file.

        Raises:
            DataError: the data is not as it was; nothing was changed.
        """
        before = self.now()
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


def _is_data(value: Any) -> bool:
    if isinstance(value, BaseException):
        # Kept to look at what happened.
        return True
    if isinstance(value, torch.Tensor | np.ndarray):
        if value.nbytes > MAX_STATE_BYTES or isinstance(value, np.memmap):
            return True
        return isinstance(value, torch.Tensor) and not _is_writable(value)
    if isinstance(value, (*CONTAINER_TYPES, bytearray)):
        # Of a list of numbers only the list is copied.
        simple = type(next(iter(value), None)) in SIMPLE_TYPES
        return len(value) > (MAX_STATE_NUMBERS if simple else MAX_STATE_PARTS)
    if isinstance(value, (*DATA_TYPES, nn.Module, types.FunctionType, types.MethodType)):
        return False
    kind = type(value)
    return kind not in SIMPLE_TYPES and is_of_library(kind) and not callable(value)


def _is_writable(tensor: torch.Tensor) -> bool:
    dense = tensor.layout is torch.strided and tensor.device.type == "cpu"
    return dense and tensor.is_contiguous() and not (tensor.is_inference() or tensor.requires_grad)
