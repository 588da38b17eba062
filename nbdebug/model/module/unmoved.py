"""Batches that move to a device by a method `to`, where nothing in them has to move."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

MAX_COMPARED = 10_000
MISSING = object()
PLAIN_TYPES = (int, float, complex, str, bytes, type(None), torch.device, torch.dtype)


def moved_by_itself(batch: Any, device: torch.device) -> Any:
    """A batch on a device, moved by its method `to`; itself if nothing in it had to move.

    Of a shallow copy, since many objects move in place.
    """
    moved: Any = batch if isinstance(batch, PackedSequence) else copy.copy(batch)
    found = moved.to(device)
    result = moved if found is None else found
    if type(result) is not type(batch) or result is batch:
        return result
    differences = _differences(result, batch)
    if differences is None:
        return result
    if differences:
        # It notes where it is.
        if result is not moved:
            return result
        batch.to(device)
    return batch


def _differences(made: Any, given: Any) -> int | None:
    """Number of plain values that differ in two objects; None if others do, such as tensors.

    Containers that hold the same are the same.
    """
    waiting, seen, differences = [(made, given)], set[tuple[int, int]](), 0
    while waiting:
        one, other = waiting.pop()
        place = id(one), id(other)
        if one is other or place in seen:
            continue
        seen.add(place)
        if _is_plain(one) and _is_plain(other):
            differences += type(one) is not type(other) or one != other
            continue
        parts, others = _parts_of(one), _parts_of(other)
        if type(one) is not type(other) or parts is None or others is None:
            return None
        if len(seen) > MAX_COMPARED:
            return None
        waiting += [
            (parts.get(key, MISSING), others.get(key, MISSING)) for key in {**others, **parts}
        ]
    return differences


def _is_plain(value: Any) -> bool:
    return value is MISSING or isinstance(value, PLAIN_TYPES)


def _parts_of(value: Any) -> dict[Any, Any] | None:
    """Parts of a container or an object, by key, place or name; None if that is unknown."""
    if isinstance(value, weakref.ref):
        # A part that knows whom it belongs to.
        return {}
    known = isinstance(value, list | tuple | dict) or hasattr(value, "__dict__")
    found: dict[Any, Any] = dict(value) if isinstance(value, dict) else {}
    if isinstance(value, list | tuple):
        found = dict(enumerate(value))
    elif isinstance(value, Mapping) and not known:
        found, known = dict(value), True
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            known = True
            found[f".{name}"] = getattr(value, name, MISSING)
    found |= {f".{name}": part for name, part in getattr(value, "__dict__", {}).items()}
    return found if known and not isinstance(value, torch.Tensor) else None
