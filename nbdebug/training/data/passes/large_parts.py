"""Large parts of a dataset: those that reading writes into are state, the others are data."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.copier import attributes_of
from nbdebug.model.state.values.kept import Done, Kept
from nbdebug.model.state.values.kept_data import is_frame
from nbdebug.training.data.passes.fingerprint import fingerprint

# All parts together are compared and copied up to so many bytes, of containers with so many items.
MAX_BYTES, MAX_ITEMS = 2**25, 20_000
# So often parts are compared at once; then comparing takes at most this share of the time.
FIRST_COMPARISONS, SHARE_OF_TIME = 8, 0.01
# A list of samples, each with its parts.
DEPTH = 2
Keep = Callable[[Any, str], Kept]


class LargeParts:
    """Knows the arrays, tensors, tables and long lists of a dataset that reading writes into.

    An item that is loaded into a cache is no change: it replaces None, or is a new key.

    Args:
        keep: copies a large value of a place.

    Attributes:
        written: places of parts that were written into, which are copied from then on.
        unkept: place of a part that was written into and is too large to be copied; "" if none.
    """

    def __init__(self, keep: Keep) -> None:
        self.written: set[str] = set()
        self.unkept = ""
        self._keep = keep
        self._marks: dict[str, _Mark] = {}
        self._first: dict[str, tuple[Any, Kept]] = {}
        self._due, self._next = 0, 0.0

    @property
    def whole(self) -> set[str]:
        """Places of parts that are not too large to be copied."""
        return {place for place, mark in self._marks.items() if mark.whole}

    def compare(self, parts: Mapping[str, Any], *, sparing: bool = False) -> bool:
        """Find the parts that were written into since they were seen last; tell if there are any.

        Args:
            sparing: do nothing if that was done a short while ago.
        """
        start, known, new = (
            time.perf_counter(),
            len(self.written),
            parts.keys() - self._marks.keys(),
        )
        if sparing and not (new or self._due or start >= self._next):
            return False
        room = MAX_BYTES
        for place, value in parts.items():
            size = _size_of(value)
            mark = _mark_of(value, whole=size <= room)
            room -= size if mark.whole else 0
            before = self._marks.get(place, mark)
            self._marks[place] = mark
            if place in new and mark.whole:
                self._first[place] = value, self._keep(value, place)
            elif before.whole == mark.whole and _has_moved(before.seen, mark.seen):
                if mark.whole:
                    self.written.add(place)
                else:
                    self.unkept = self.unkept or place
        end = time.perf_counter()
        self._due = FIRST_COMPARISONS if new else max(self._due - 1, 0)
        self._next = end + (end - start) / SHARE_OF_TIME
        return len(self.written) > known

    def restore_first(self, parts: Mapping[str, Any], done: Done) -> None:
        """Write parts as they were when they were met, where they were first written into later.

        Args:
            parts: values by place of which a state has no copy, since nothing was known of them.
        """
        for place in self.written.intersection(parts, self._first):
            value, kept = self._first[place]
            if parts[place] is value:
                kept.restored(value, done)


class _Mark(NamedTuple):
    """A large value as it was, to find out if it has changed.

    Attributes:
        whole: whether all of it is compared; of larger ones only versions, lengths and edges.
    """

    whole: bool
    seen: Any


def _has_moved(before: Any, now: Any) -> bool:
    """True if a value has changed that was there; what was loaded since is no change."""
    if before is None:
        return False
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return bool(before != now)
    if any(key not in now or _has_moved(part, now[key]) for key, part in before.items()):
        return True
    # A number that came counts something.
    return any(type(now[key]) in SIMPLE_TYPES for key in now.keys() - before.keys())


def _size_of(value: Any, depth: int = DEPTH) -> int:
    """Bytes of a value; more than there is room for if it has too many items."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if is_frame(value):
        return int(np.sum(value.memory_usage()))
    if isinstance(value, set | bytearray):
        return 8 * len(value)
    parts = _parts_of(value) if depth else {}
    if len(parts) > MAX_ITEMS:
        return MAX_BYTES + 1
    return 8 * len(parts) + sum(_size_of(part, depth - 1) for part in parts.values())


def _parts_of(value: Any) -> dict[Any, Any]:
    """Items of a container, or attributes of an object of the user's."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple | deque):
        return dict(enumerate(value))
    if type(value) in SIMPLE_TYPES or is_of_library(type(value)):
        return {}
    return dict(attributes_of(value))


def _mark_of(value: Any, whole: bool) -> _Mark:
    if whole:
        return _Mark(True, _seen(value, DEPTH))
    if isinstance(value, torch.Tensor):
        return _Mark(False, None if value.is_inference() else value._version)
    return _Mark(False, fingerprint(value) if isinstance(value, np.ndarray) else len(value))


def _seen(value: Any, depth: int) -> Any:
    """Form of a value that is another one when the value, or a part of it, has changed."""
    if value is None or type(value) in SIMPLE_TYPES:
        return value
    if isinstance(value, torch.Tensor | np.ndarray):
        return _checksum(value)
    if is_frame(value):
        table = value.to_frame() if value.ndim == 1 else value
        columns = [table.iloc[:, number].to_numpy() for number in range(table.shape[1])]
        return tuple(map(_checksum, columns))
    if isinstance(value, set | bytearray):
        return hash(bytes(value) if isinstance(value, bytearray) else frozenset(value))
    parts = _parts_of(value) if depth else {}
    seen: dict[Any, Any] = {key: _seen(part, depth - 1) for key, part in parts.items()}
    if isinstance(value, list | deque):
        # What is appended is remembered; what is loaded takes a place that was there.
        seen["length"] = len(value)
    return seen or (id(value),)


def _checksum(values: Any) -> Any:
    """Shape, type and CRC-32 of a tensor or an array; of an array of objects their ids."""
    if isinstance(values, torch.Tensor):
        return _checksum_of_tensor(values)
    kind = values.shape, str(values.dtype)
    if values.dtype.hasobject:
        return *kind, () if values.dtype.fields else tuple(map(id, values.reshape(-1)))
    return *kind, zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _checksum_of_tensor(tensor: torch.Tensor) -> Any:
    version = 0 if tensor.is_inference() else tensor._version
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return id(tensor), version
    try:
        flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        crc = zlib.crc32(flat.view(torch.uint8).numpy().data)
    except (RuntimeError, TypeError, NotImplementedError):
        # Of another kind, such as quantized or nested.
        return id(tensor), version
    return tuple(tensor.shape), str(tensor.dtype), crc
