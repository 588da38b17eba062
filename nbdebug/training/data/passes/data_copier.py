"""Copies of what samplers, streams and loaders hold, without the data themselves."""

from __future__ import annotations

import functools
import types
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.copier import ValueCopier, attributes_of
from nbdebug.model.state.values.kept import AsIs, Kept, KeptObject
from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.training.data.passes.fingerprint import fingerprint

MAX_TENSOR_BYTES, MAX_TEXT, MAX_PARTS, MAX_MARKED = 2**22, 2**20, 20_000, 1_000
NUMBERS = frozenset({int, float, bool})
FUNCTION_TYPES = (types.FunctionType, types.MethodType, functools.partial)


class DataCopier(ValueCopier):
    """Copies generators, counters and lists of samplers, streams and loaders, deeply.

    Large tensors, arrays, texts and lists are data and are left where they are. Of a dataset that
    is read by index only generators and numbers are copied.

    Attributes:
        moving: place and type of an iterator or file, whose position cannot be copied; "" if none.
        large: fingerprints of large tensors and lists, by place.
        functions: functions that were met; kinds: classes of the objects that were copied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moving = ""
        self.large: dict[str, int] = {}
        self.functions: list[tuple[str, Any]] = []
        self.kinds: set[type] = set()

    def _fresh(self, value: Any, place: str) -> Kept:
        if isinstance(value, FUNCTION_TYPES):
            self.functions.append((place, value))
            return AsIs(value)
        if _is_large(value):
            self.large[place] = _mark_of(value)
            return AsIs(value)
        if isinstance(value, Dataset | DataLoader | Sampler):
            return self._data_object(value, place)
        kept = super()._fresh(value, place)
        if isinstance(kept, KeptObject):
            self.kinds.add(type(value))
        return kept

    def _data_object(self, value: Any, place: str) -> Kept:
        self.kinds.add(type(value))
        kept: KeptObject = self._remember(value, KeptObject(value))
        in_sequence = isinstance(value, IterableDataset | DataLoader | Sampler)
        for name, part in attributes_of(value):
            copied = in_sequence or type(part) in SIMPLE_TYPES or _has_own_state(part)
            kept.parts[name] = self.keep(part, f"{place}.{name}") if copied else AsIs(part)
        return kept

    def _left(self, value: Any, place: str) -> Kept:
        if isinstance(value, Iterator) and not self.moving:
            self.moving = f"{place.lstrip('.')} ({type(value).__name__})"
        return super()._left(value, place)


def _has_own_state(value: Any) -> bool:
    return isinstance(value, (*GENERATOR_TYPES, Dataset, DataLoader, Sampler))


def _is_large(value: Any) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes > MAX_TENSOR_BYTES or isinstance(value, np.memmap)
    if isinstance(value, str | bytes | bytearray):
        return len(value) > MAX_TEXT
    if isinstance(value, list | tuple | dict | set | frozenset | deque) and len(value) > MAX_PARTS:
        parts = value.values() if isinstance(value, dict) else value
        return not NUMBERS.issuperset(map(type, parts))
    return False


def _mark_of(value: Any) -> int:
    """Fingerprint of a large value, for comparison within this process."""
    if isinstance(value, torch.Tensor | np.ndarray | str | bytes):
        return fingerprint(value)
    return zlib.crc32(repr([id(part) for part in islice(value, MAX_MARKED)]).encode())
