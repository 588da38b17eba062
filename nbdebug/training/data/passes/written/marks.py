"""Marks of large values: what of them is compared to find out if they were written into."""

from __future__ import annotations

import array
import zlib
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.copier import attributes_of
from nbdebug.model.state.values.kept_data import is_frame
from nbdebug.training.data.passes.fingerprint import fingerprint

# All parts together are compared and copied up to so many bytes, each with so many items that are
# no numbers or texts: copying one takes tens of microseconds.
MAX_BYTES, MAX_ITEMS, MAX_SET = 2**25, 2_000, 20_000
# A list of samples, each with its parts, and theirs.
DEPTH = 5
CONTAINERS = (list, tuple, deque, dict, np.ndarray)


class Mark(NamedTuple):
    """A large value as it was, to find out if it has changed.

    Attributes:
        whole: whether all of it is compared; of larger ones only versions, lengths and edges.
    """

    whole: bool
    seen: Any

    def has_moved(self, now: Mark) -> bool:
        """True if a value has changed that was there; what was loaded since is no change."""
        return self.whole == now.whole and _has_moved(self.seen, now.seen)


def _has_moved(before: Any, now: Any) -> bool:
    if before is None:
        return False
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return bool(before != now)
    if any(key not in now or _has_moved(part, now[key]) for key, part in before.items()):
        return True
    # A number that came counts something.
    return any(type(now[key]) in SIMPLE_TYPES for key in now.keys() - before.keys())


def size_of(value: Any) -> int:
    """Bytes of a value; more than there is room for if it has too many items."""
    # What was met is kept, so that its id stays its own.
    waiting, met, size = [(value, DEPTH)], dict[int, Any](), 0
    while waiting:
        one, depth = waiting.pop()
        if id(one) in met:
            continue
        met[id(one)] = one
        size += _own_bytes(one)
        parts = _parts_of(one) if depth and not _is_plain(one) else {}
        if size > MAX_BYTES or len(met) + len(waiting) + len(parts) > MAX_ITEMS:
            return MAX_BYTES + 1
        waiting += [(part, depth - 1) for part in parts.values() if type(part) not in SIMPLE_TYPES]
    return size


def mark_of(value: Any, whole: bool) -> Mark:
    """Mark a value as it is now."""
    if whole:
        return Mark(True, _seen(value, DEPTH, {}))
    if isinstance(value, torch.Tensor):
        return Mark(False, None if value.is_inference() else value._version)
    if isinstance(value, np.ndarray):
        return Mark(False, fingerprint(value))
    # A dict grows as a cache does.
    return Mark(False, None if isinstance(value, dict) else len(value))


def _own_bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if is_frame(value):
        return int(np.sum(value.memory_usage()))
    if isinstance(value, array.array):
        return len(value) * value.itemsize
    if isinstance(value, set):
        return 8 * len(value) if len(value) <= MAX_SET else MAX_BYTES + 1
    return 8 * len(value) if isinstance(value, list | tuple | deque | dict | bytearray) else 0


def _parts_of(value: Any) -> dict[Any, Any]:
    """Items of a container, objects in an array or a table, or attributes of the user's object."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple | deque):
        return dict(enumerate(value))
    if isinstance(value, np.ndarray):
        return dict(enumerate(value.tolist())) if value.dtype.hasobject else {}
    if is_frame(value):
        table = value.to_frame() if value.ndim == 1 else value
        return {n: table.iloc[:, n].to_numpy() for n in range(table.shape[1])}
    if type(value) in SIMPLE_TYPES or is_of_library(type(value)):
        return {}
    return dict(attributes_of(value))


def _is_plain(value: Any) -> bool:
    """True for a container of numbers and texts alone; None may be a place to load something."""
    if not isinstance(value, list | tuple | deque | dict):
        return False
    kinds = set(map(type, value.values() if isinstance(value, dict) else value))
    return SIMPLE_TYPES.issuperset(kinds) and type(None) not in kinds


def _seen(value: Any, depth: int, met: dict[int, Any]) -> Any:
    """Form of a value that is another one when the value, or a part of it, has changed."""
    if value is None or type(value) in SIMPLE_TYPES:
        return value
    if isinstance(value, torch.Tensor):
        return _checksum_of_tensor(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        bits = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return value.shape, str(value.dtype), zlib.crc32(bits.data)
    if is_frame(value):
        return {key: _seen(part, depth, met) for key, part in _parts_of(value).items()}
    if isinstance(value, set | bytearray | array.array):
        return hash(frozenset(value) if isinstance(value, set) else bytes(value))
    if _is_plain(value):
        keys = tuple(value) if isinstance(value, dict) else ()
        return len(value), hash((keys, tuple(value.values() if keys else value)))
    if is_of_library(type(value)) and not isinstance(value, CONTAINERS):
        return _named(value)
    if not depth or id(value) in met:
        return (id(value),)
    met[id(value)] = value
    parts = _parts_of(value)
    seen: dict[Any, Any] = {key: _seen(part, depth - 1, met) for key, part in parts.items()}
    if isinstance(value, list | deque):
        # What is appended is remembered; what is loaded takes a place that was there.
        seen["length"] = len(value)
    return seen or (id(value),)


def _named(value: Any) -> Any:
    """Hash of an object of a library, such as a time stamp, which is made anew when it is read."""
    try:
        return type(value).__name__, hash(value)
    except Exception:
        return (id(value),)


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
