"""Comparison of nested values bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

MIN_LONG = 16


def bitwise_equal(one: Any, other: Any) -> bool:
    """Tell if two nested containers are bit-identical; NaN equals NaN."""
    if one is other:
        return True
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _same_bits(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return _same_elements(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            bitwise_equal(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) > MIN_LONG and _are_integers(one) and _are_integers(other):
            return tuple(one) == tuple(other)
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(bitwise_equal(a, b) for a, b in pairs)
    if isinstance(one, float | complex | np.inexact) and one != one:
        return type(one) is type(other) and bool(other != other)
    return type(one) is type(other) and bool(one == other)


def _are_integers(values: list[Any] | tuple[Any, ...]) -> bool:
    """True for integers of Python alone, such as the state of its random numbers."""
    return set(map(type, values)) == {int}


def _same_elements(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return bitwise_equal(one.tolist(), other.tolist())
    return one.tobytes() == other.tobytes()


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.layout is not torch.strided:
        one, other = one.to_dense(), other.to_dense()
    if torch.equal(one, other):
        return True
    left, right = (t.detach().reshape(-1).contiguous().view(torch.uint8) for t in (one, other))
    return torch.equal(left, right)
