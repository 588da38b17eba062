"""Copies of tensors, and the plain values that need none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Copy = Callable[[torch.Tensor], torch.Tensor]
LARGE_BYTES = 2**20
SIMPLE_TYPES = frozenset({int, float, complex, str, bool, bytes, type(None)})
# Attributes that every module has: parameters, buffers, children, hooks and the training flag.
MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))


def cloned(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the same device."""
    return tensor.detach().clone()


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the host's memory; a scalar stays on its device."""
    return tensor.detach().to("cpu", copy=True) if tensor.ndim else cloned(tensor)


def outline(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape without values; a small or unusual one is copied."""
    if tensor.nbytes < LARGE_BYTES or tensor.layout is not torch.strided or tensor.is_quantized:
        return to_host(tensor)
    return torch.empty_like(tensor, device="meta")


def is_plain(value: Any) -> bool:
    """True for a number, a text, None, or a tuple of these."""
    kind = type(value)
    return kind in SIMPLE_TYPES or (kind is tuple and SIMPLE_TYPES.issuperset(map(type, value)))


def simple_attributes(thing: Any) -> dict[str, Any]:
    """Attributes of an object that hold numbers, strings, bytes or None."""
    return {
        name: value
        for name, value in vars(thing).items()
        if name not in MODULE_ATTRIBUTES and type(value) in SIMPLE_TYPES
    }
